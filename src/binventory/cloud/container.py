"""Inside SageMaker's training container: from its folder ``/opt/ml`` to ``binventory train``, and back.

The contract is AWS's "How Amazon SageMaker AI provides training information": ``input/config/*.json`` say what to do,
``input/data/CHANNEL`` holds the data, ``model/`` and ``output/`` what comes of it, ``output/failure`` why nothing did,
``checkpoints/`` what a job that is started again goes on from. The toolkit (sagemaker-training) repeats all of it in
``SM_*`` variables and as arguments; the files are there with it and without it, so only they are read.

The training itself is the verb, in a process of its own: what a user types on a laptop is what runs here.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binventory import recipe as recipes
from binventory.errors import BinventoryError, InputError, OutsideError, StoppedError, UsageError

BASE = "/opt/ml"
TOLD = 1024
"""How many characters of ``output/failure`` SageMaker shows as the reason."""

_OWN_CHANNELS = ("model", "weights", "code")
_TOOLKITS = ("_tuning_objective_metric", "default_user_module_name")
PORT = 7777  # the toolkit's own launcher takes it, so security groups know it
_KEPT_LINES = 60


@dataclass(frozen=True, slots=True)
class Job:
    """One host's view of a training job.

    ``settings``: as ``--set`` takes them. ``base``: a shipped bundle to start from. ``channels``: the folder of each.
    ``hosts``: sorted, the first one leads; ``host`` is this one. ``interface``: the network's, to the other hosts.
    ``gpus``: of this host. ``port``: of the first host, where all meet. ``model``, ``output``, ``checkpoints``: the
    folders that SageMaker keeps.
    """

    name: str
    recipe: str
    settings: tuple[str, ...]
    base: str | None
    channels: Mapping[str, Path]
    hosts: tuple[str, ...]
    host: str
    interface: str
    gpus: int
    port: int
    model: Path
    output: Path
    checkpoints: Path

    @property
    def rank(self) -> int:
        """This host's place among the hosts, 0 for the one that leads."""
        return self.hosts.index(self.host)

    @property
    def data(self) -> tuple[Path, ...]:
        """The channels that hold photos and records, by name."""
        return tuple(self.channels[name] for name in sorted(self.channels) if name not in _OWN_CHANNELS)


@dataclass(frozen=True, slots=True)
class Ended:
    """How the verb's process ended: its exit status (negative: the signal that killed it), the last lines that it
    wrote to stderr, the first of them that tells an error or a traceback's end, and whether it was told to end."""

    status: int
    lines: tuple[str, ...]
    error: str | None
    told: bool


def main() -> None:
    """Do the job that lies below ``SAGEMAKER_BASE_DIR`` (``/opt/ml``) and end with the verb's exit status."""
    sys.exit(run(Path(os.environ.get("SAGEMAKER_BASE_DIR", BASE)), os.environ))


def run(base: Path, environ: Mapping[str, str]) -> int:
    """Do the job below ``base``; the exit status. Where it fails, ``output/failure`` begins with the cause."""
    failure = base / "output" / "failure"
    try:
        _train(read(base, environ, _gpus()), environ)
    except StoppedError as error:
        _say(f"stopped: {error}")
        return error.exit_status
    except _FailedError as error:
        return _failed(failure, error.cause, error.log, error.status)
    except BinventoryError as error:
        return _failed(failure, str(error), "", error.exit_status)
    except Exception as error:
        cause = f"The job ended unexpectedly. {type(error).__name__}: {error}. Try: report it, with the log."
        return _failed(failure, cause, traceback.format_exc(), 1)
    return 0


def read(base: Path, environ: Mapping[str, str], gpus: int) -> Job:
    """The job as the files below ``base`` tell it. Raises InputError or UsageError where they do not fit together."""
    config = base / "input" / "config"
    hyperparameters, resources, channels, checkpoints = (
        _json(config / f"{name}.json")
        for name in ("hyperparameters", "resourceconfig", "inputdataconfig", "checkpointconfig")
    )
    name, port = environ.get("TRAINING_JOB_NAME", "bundle"), int(environ.get("MASTER_PORT", PORT))
    return parse(hyperparameters, resources, channels, checkpoints, base, gpus, name, port)


def parse(
    hyperparameters: Mapping[str, Any], resources: Mapping[str, Any], channels: Mapping[str, Any],
    checkpoints: Mapping[str, Any], base: Path, gpus: int = 0, name: str = "bundle", port: int = PORT,
) -> Job:  # fmt: skip
    """The job that the contents of the four files tell.

    Raises UsageError where a hyperparameter is no setting or does not fit, InputError where the rest does not.
    """
    values = {
        key: plain(value)
        for key, value in hyperparameters.items()
        if not key.startswith("sagemaker_") and key not in _TOOLKITS
    }
    recipe, start = values.pop("recipe", "quick"), values.pop("from", None)
    if recipe not in ("quick", "full"):
        raise UsageError(f"Recipe {recipe!r} does not exist", "a job's is quick or full", "recipe=full")
    settings = tuple(f"{key}={json.dumps(value)}" for key, value in values.items())
    recipes.load(recipe, settings)
    hosts = tuple(sorted(resources.get("hosts") or ["localhost"]))
    host = resources.get("current_host", hosts[0])
    if host not in hosts:
        raise InputError("resourceconfig.json contradicts itself", f"{host} is not among its hosts", "start it anew")
    _refuse_channels(channels)
    if start is not None and "model" in channels:
        raise UsageError("from and the channel model exclude each other", "both were given", "one of them")
    return Job(
        name, recipe, settings, None if start is None else str(start),
        {channel: base / "input" / "data" / channel for channel in channels},
        hosts, host, resources.get("network_interface_name", "eth0"), gpus, port,
        base / "model", base / "output", Path(checkpoints.get("LocalPath") or base / "checkpoints"),
    )  # fmt: skip


def plain(value: Any) -> Any:
    """A hyperparameter's value as ``--set`` would have it, however often it was quoted as JSON on its way.

    SDKs quote each value, tuning jobs quote categorical ones once more: ``"\\"sgd\\""`` is ``sgd``.
    """
    while isinstance(value, str):
        read = recipes.parse_value(value)
        if read == value:
            break
        value = read
    return value


def command(job: Job, folder: Path, base: str | None = None, weights: Path | None = None) -> list[str]:
    """The words, after ``python``, that do this host's share of the job, with ``folder`` for work and bundle."""
    words = ["-m", "binventory", "train", "--recipe", job.recipe, "--out", str(folder / job.name)]
    words += ["--work", str(folder / "work")]
    words += [word for place in job.data for word in ("--data", str(place))]
    words += [word for setting in job.settings for word in ("--set", setting)]
    words += ["--from", base] if base else []
    words += ["--weights", str(weights)] if weights else []
    words += ["--checkpoints", str(job.checkpoints)] if job.recipe == "full" else []
    return [*_launcher(job), *words]


def environment(job: Job) -> dict[str, str]:
    """The variables by which this host's processes find those of the others."""
    if len(job.hosts) == 1:
        return {}
    return {"GLOO_SOCKET_IFNAME": job.interface, "NCCL_SOCKET_IFNAME": job.interface}


def cause(job: Job, ended: Ended) -> str:
    """Why the training ended without a bundle: what, why, and the next step."""
    if ended.error and ended.error.startswith("error: "):
        return ended.error.removeprefix("error: ")
    if ended.status == -signal.SIGKILL:
        return str(OutsideError("Training was killed", "SIGKILL came, most often because memory ran out",
                                "a smaller full.batch, or a larger instance"))  # fmt: skip
    why = ended.error or f"its exit status was {ended.status}"
    if job.rank:
        what, next = f"{job.host}'s part of the training", f"the log of {job.hosts[0]}, which leads"
    else:
        what, next = "Training", "report it, with the log"
    return str(OutsideError(f"{what} ended unexpectedly", why, next))


class _FailedError(Exception):
    """The verb ended without a bundle: the exit status, the cause, and the end of the log."""

    def __init__(self, status: int, cause: str, log: str) -> None:
        super().__init__(status, cause, log)
        self.status, self.cause, self.log = status, cause, log


def _train(job: Job, environ: Mapping[str, str]) -> None:
    """Run the verb, and leave what it made where SageMaker keeps it."""
    if job.recipe == "quick" and job.rank:
        _say(f"quick learns on one host; {job.hosts[0]} does it, and {job.host} has nothing to do")
        return
    base = job.base or (_bundle(job.channels["model"]) if "model" in job.channels else None)
    weights = _only(job.channels["weights"], "*.safetensors") if "weights" in job.channels else None
    with tempfile.TemporaryDirectory(prefix="binventory-") as folder:
        words = command(job, Path(folder), base, weights)
        _say(shlex.join(["python", *words]))
        ended = _supervised([sys.executable, *words], {**environ, **environment(job)})
        made = Path(folder) / job.name
        if job.rank and not ended.status:
            return
        if (made / "bundle.json").is_file():  # a status of 3 or 4 beside it: some photos could not be used, as was told
            _keep(job, made, Path(folder) / "work")
        elif ended.told:
            raise StoppedError("The job was told to end", "SIGTERM came, as when it is stopped or its spot instance is "
                               "wanted back", f"the same job, which goes on from {job.checkpoints}")  # fmt: skip
        else:
            raise _FailedError(_status(ended.status), cause(job, ended), "".join(ended.lines))


def _keep(job: Job, made: Path, work: Path) -> None:
    """Copy the bundle's members, its metrics and its curve to where they are kept. ``model/`` itself is a mount, and
    cannot be renamed over; ``bundle.json`` comes last."""
    job.model.mkdir(parents=True, exist_ok=True)
    for member in sorted(made.iterdir(), key=lambda path: path.name == "bundle.json"):
        shutil.copyfile(member, job.model / member.name)
    kept = job.output / "data"
    kept.mkdir(parents=True, exist_ok=True)
    for path in (path for name in ("metrics.csv", "curve.svg") for path in work.glob(f"full/*/{name}")):
        shutil.copyfile(path, kept / path.name)
    _say(f"the bundle is in {job.model}")


def _supervised(words: Sequence[str], environ: Mapping[str, str]) -> Ended:
    """Run a command to its end; what it writes goes on at once, SIGTERM is passed on to it."""
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    first, told, children = _FirstError(), threading.Event(), list[subprocess.Popen[str]]()

    def pass_on(*_: object) -> None:
        told.set()
        for child in children:
            child.terminate()

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        with subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True, errors="replace") as child:
            children.append(child)
            if told.is_set():
                child.terminate()
            for line in child.stderr or ():
                sys.stderr.write(line)
                sys.stderr.flush()
                lines.append(line)
                first.hear(line.rstrip())
    finally:
        signal.signal(signal.SIGTERM, before)
    return Ended(child.returncode, tuple(lines), first.error, told.is_set())


class _FirstError:
    """Listens for the first line that tells what went wrong: our own sentence, or how a traceback ends."""

    def __init__(self) -> None:
        self.error: str | None = None
        self._in_traceback = False

    def hear(self, line: str) -> None:
        if line.startswith("error: ") and not (self.error or "").startswith("error: "):
            self.error = line  # our own sentence counts for more than a traceback, even one that came before
        if self._in_traceback and line and not line[0].isspace():
            self.error, self._in_traceback = self.error or line, False
        if re.search(r"Traceback \(most recent call last\):$", line):
            self._in_traceback = True


def _launcher(job: Job) -> list[str]:
    """What starts a process a GPU on every host, or nothing where one process is all."""
    processes = max(1, job.gpus)
    if job.recipe == "quick" or (len(job.hosts) == 1 and processes == 1):
        return []
    several = [
        "--nnodes", str(len(job.hosts)), "--node-rank", str(job.rank), "--master-addr", job.hosts[0],
        "--master-port", str(job.port),
    ]  # fmt: skip
    place = several if len(job.hosts) > 1 else ["--standalone"]
    return ["-m", "torch.distributed.run", *place, "--nproc-per-node", str(processes)]


def _refuse_channels(channels: Mapping[str, Any]) -> None:
    """Raise InputError where no channel holds photos, or one is a pipe."""
    if not set(channels) - set(_OWN_CHANNELS):
        told = ", ".join(sorted(channels)) or "none"
        raise InputError(
            "The job has no photos", f"its channels are: {told}", "a channel train with photos and records"
        )
    for name, how in channels.items():
        if name not in _OWN_CHANNELS and not name.startswith("train"):
            raise InputError(
                f"Channel {name} would be learnt from", "the sides are made here, from all photos together, by run",
                "channels called train…, and judge with binventory evaluate",
            )  # fmt: skip
        if isinstance(how, Mapping) and how.get("TrainingInputMode") == "Pipe":
            raise InputError(f"Channel {name} cannot be read", "its input mode is Pipe", "File or FastFile")


def _bundle(folder: Path) -> str:
    """The bundle in a channel: the folder itself, or the one archive in it."""
    return str(folder if (folder / "bundle.json").is_file() else _only(folder, "*.tar.gz"))


def _only(folder: Path, pattern: str) -> Path:
    """The one file in a channel that matches. Raises InputError where there is none, or several."""
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        raise InputError(f"Channel {folder.name} does not fit", f"it holds {len(found)} files {pattern}", "exactly one")
    return found[0]


def _json(path: Path) -> dict[str, Any]:
    """A file's JSON object; empty where there is no such file, as where a job has no checkpoints."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read", str(error), "a job made by SageMaker") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} cannot be read", "it holds no JSON object", "a job made by SageMaker")
    return found


def _gpus() -> int:
    """How many GPUs the driver names, as the toolkit counts them; 0 without one."""
    with suppress(OSError, subprocess.SubprocessError):
        named = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True, timeout=60)
        return sum(line.startswith("GPU ") for line in named.stdout.splitlines())
    return 0


def _failed(path: Path, cause: str, log: str, status: int) -> int:
    """Write the failure file, the cause within what SageMaker shows of it, then the end of the log."""
    _say(f"error: {cause}")
    short = cause if len(cause) <= TOLD else cause[: TOLD - 1] + "…"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{short}\n\n{log}".rstrip() + "\n", encoding="utf-8")
    return status


def _status(ended: int) -> int:
    """An exit status that says "failed", as a shell would tell it of a process that a signal ended."""
    return 128 - ended if ended < 0 else ended or 1


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
