"""The verb that serves counts over HTTP."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from binventory.cli import terminal
from binventory.errors import MissingError, UsageError


def serve(
    hosting: Annotated[
        bool, typer.Option("--hosting", envvar="BINVENTORY_HOSTING", help="SageMaker's hosting contract: /ping, "
                           "/invocations, /execution-parameters.")
    ] = False,
    bundle: Annotated[
        str | None, typer.Option("--bundle", envvar=["BINVENTORY_BUNDLE", "SM_MODEL_DIR"], metavar="BUNDLE",
                                 help="A bundle: directory, .tar.gz, s3:// address or shipped name.")
    ] = None,
    host: Annotated[
        str, typer.Option(envvar="BINVENTORY_HOST", help="The address to listen at; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="SAGEMAKER_BIND_TO_PORT", min=0, max=65535, help="The port; 0 for any free one.")
    ] = 8080,
    allow_s3: Annotated[
        str | None, typer.Option("--allow-s3", envvar="BINVENTORY_ALLOW_S3", metavar="s3://PREFIX",
                                 help="Requests may name photos below this prefix.")
    ] = None,
    max_body: Annotated[
        int, typer.Option(envvar="SAGEMAKER_MAX_PAYLOAD_IN_MB", min=1, max=100, help="The largest request, in MB.")
    ] = 6,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the network. Default: one a processor core.")
    ] = None,
) -> None:  # fmt: skip
    """Serve counts over HTTP, as SageMaker's containers do, until SIGTERM or Ctrl-C.

    The model loads in the background: /ping answers 503 until a photo has been counted, and says why. SIGTERM lets
    what is under way finish. The log is a line a request, on stderr, with nothing of a photo in it.
    """
    if not hosting:
        raise UsageError("Nothing to serve is named", "what this version can serve is SageMaker's hosting contract",
                         "binventory serve --hosting")  # fmt: skip
    _refuse_prefix(allow_s3)
    _refuse_missing(bundle)
    _log_to_stderr()

    from binventory.cli.counting import tell_licence
    from binventory.counting.counter import Counter
    from binventory.service import hosting as contract

    def load() -> Counter:
        counter = Counter.load(bundle, threads=threads)
        tell_licence(counter.bundle)
        return counter

    listening = contract.listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    terminal.say(f"serving on http://{shown}:{listening.getsockname()[1]}")
    contract.serve(load, contract.Limits(body=max_body * contract.MEGABYTE, allow=allow_s3), listening)


def _refuse_missing(bundle: str | None) -> None:
    """Raise MissingError for a bundle that cannot come to be there; what is damaged is told by /ping."""
    from binventory.counting.bundle import SHIPPED

    if bundle and bundle not in SHIPPED and not bundle.startswith("s3://") and not os.path.exists(bundle):
        raise MissingError(f"Bundle {bundle} does not exist", "there is no such file or folder", "check the path")


def _refuse_prefix(allow: str | None) -> None:
    if allow is not None and not (allow.startswith("s3://") and allow.removeprefix("s3://").strip("/")):
        raise UsageError(f"--allow-s3 {allow} names no bucket", "a prefix reads s3://BUCKET/PREFIX",
                         "--allow-s3 s3://BUCKET/PREFIX")  # fmt: skip


def _log_to_stderr() -> None:
    import logging

    shown = os.environ.get("SAGEMAKER_CONTAINER_LOG_LEVEL", "")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("binventory").setLevel(int(shown) if shown.isdecimal() else logging.INFO)
