"""Runs the Dockerfile's own steps in a bare Debian root, and counts a photo over HTTP in what comes of them.

    sudo python tests/image.py [--see DIR]...

No container engine is needed: debootstrap makes the base, every ``RUN`` is a chroot, every ``COPY`` a copy, and the
entry point is started as SageMaker does, with the argument ``serve`` and a bundle in ``/opt/ml/model``; only address
and port are set, as ``docker run --env`` would, so that it listens on loopback. ``--see``: a folder of this machine
that the steps may read, such as one with packages that pip's configuration names. The Dockerfile's layers, users and
engine-side rights are not what this proves.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import binventory
from binventory import Counter
from hosts import JPEG, PHOTOS, Host
from s3server import free_ports

ROOT = Path(__file__).parent.parent
SUITE = "bookworm"
OPEN = Path(binventory.__file__).parent / "shipped" / "open"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PIPS = ("/etc/pip.conf", *(os.path.expanduser(f"~/{name}") for name in (".config/pip/pip.conf", ".pip/pip.conf")))


@dataclass(slots=True)
class Stage:
    """A stage as it is being built: its root folder, and what ``ENV``, ``ARG``, ``WORKDIR`` and the last lines say."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    entry: list[str] = field(default_factory=list)

    def filled(self, text: str) -> str:
        """The text with ``$NAME`` and ``${NAME}`` replaced, as a Dockerfile's own instructions have them."""
        known = self.arguments | self.environment
        return re.sub(r"\$\{?(\w+)\}?", lambda found: known.get(found[1], ""), text)


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """A Dockerfile's instructions, each with the rest of its line; continued lines joined, comments left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def build(target: str, base: Path, work: Path, see: list[str]) -> Stage:
    """Build the stages up to ``target`` from the folder ``base``, each in a folder of ``work``."""
    stages: dict[str, Stage] = {}
    wanted, now = wanted_by(target), None
    for name, rest in instructions((ROOT / "Dockerfile").read_text()):
        if name == "FROM":
            origin, _, called = rest.split()
            now = called if called in wanted else None
            if now is not None:
                print(f"== FROM {origin} AS {called}", flush=True)
                stages[called] = begun(stages.get(origin), base, work / called)
        elif now is not None:
            print(f"   {name} {rest[:150]}", flush=True)
            step(stages[now], name, rest, stages, see)
    return stages[target]


def begun(origin: Stage | None, base: Path, root: Path) -> Stage:
    """A new stage that starts as another one ended, or as the base."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(origin.root if origin else base), str(root)], check=True)
    return Stage(root, dict(origin.environment), folder=origin.folder) if origin else Stage(root)


def wanted_by(target: str) -> set[str]:
    """The stages that a target stands on or copies from, itself included."""
    needs: dict[str, set[str]] = {}
    called = ""
    for name, rest in instructions((ROOT / "Dockerfile").read_text()):
        if name == "FROM":
            origin, _, called = rest.split()
            needs[called] = {origin}
        elif found := re.search(r"--from=(\S+)", rest) if name == "COPY" else None:
            needs[called].add(found[1])
    wanted, new = set(), {target}
    while new:
        wanted |= new
        new = {one for stage in new for one in needs[stage] if one in needs} - wanted
    return wanted


def step(stage: Stage, name: str, rest: str, stages: dict[str, Stage], see: list[str]) -> None:
    """Do one instruction. Raises CalledProcessError where a step fails, SystemExit for one that is not known here."""
    if name == "RUN":
        begun = time.monotonic()
        subprocess.run(inside(stage, see, ["sh", "-c", rest]), check=True)
        print(f"      {time.monotonic() - begun:.0f} s", flush=True)
    elif name == "COPY":
        source = re.match(r"--from=(\S+) ", rest)
        *froms, to = shlex.split(stage.filled(rest[source.end() :] if source else rest))
        home = stages[source[1]].root if source else ROOT
        copy([home / one.lstrip("/") for one in froms], stage.root / (Path(stage.folder) / to).relative_to("/"), to)
    elif name == "ENV":
        stage.environment |= dict(part.split("=", 1) for part in shlex.split(stage.filled(rest)))
    elif name == "ARG":
        key, _, value = rest.partition("=")
        stage.arguments[key] = os.environ.get(key, value)
    elif name == "WORKDIR":
        stage.folder = rest
        (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif name == "ENTRYPOINT":
        stage.entry = json.loads(rest)
    elif name not in ("LABEL", "EXPOSE", "CMD"):
        sys.exit(f"error: {name} is not known to this check")


def copy(froms: list[Path], to: Path, written: str) -> None:
    """COPY: a folder's contents into a folder; a file to a name, or into a folder where that ends in a slash."""
    for one in froms:
        if one.is_dir():
            shutil.copytree(one, to, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            continue
        place = to / one.name if written.endswith("/") else to
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(one, place)


def inside(stage: Stage, see: list[str], command: list[str]) -> list[str]:
    """The command within a stage's root. What is mounted there is seen by it alone, and gone with it."""
    given = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
             "DEBIAN_FRONTEND": "noninteractive"}  # fmt: skip
    given |= {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_proxy")}
    given |= stage.arguments | stage.environment
    mounts = ["mount -t proc proc {root}/proc", "mount --bind /etc/resolv.conf {root}/etc/resolv.conf"]
    if Path(_CERTIFICATES).is_file():  # this machine's, at a place of their own: the steps write the image's
        given["PIP_CERT"] = "/run/certificates.crt"
    for one, there in [*((one, one) for one in see), (_CERTIFICATES, "/run/certificates.crt")]:
        if not Path(one).exists():
            continue
        inner = stage.root / there.lstrip("/")
        if Path(one).is_dir():
            inner.mkdir(parents=True, exist_ok=True)
        else:
            inner.parent.mkdir(parents=True, exist_ok=True)
            inner.touch()
        mounts.append(f"mount --bind -o ro {shlex.quote(one)} {shlex.quote(str(inner))}")
    variables = [f"{name}={value}" for name, value in given.items()]
    script = [one.format(root=shlex.quote(str(stage.root))) for one in mounts]
    within = ["env", "-i", *variables, "sh", "-c", 'cd "$0" && exec "$@"', stage.folder, *command]
    script.append(f"exec chroot {shlex.quote(str(stage.root))} {shlex.join(within)}")
    return ["unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", "\n".join(script)]


def try_out(stage: Stage, see: list[str]) -> None:
    """Start the entry point as SageMaker does, count a photo over HTTP, and end it by SIGTERM."""
    shutil.copytree(OPEN, stage.root / "opt" / "ml" / "model", ignore=shutil.ignore_patterns("__*"))
    (port,) = free_ports(1)
    stage.environment |= {"SAGEMAKER_BIND_TO_PORT": str(port), "BINVENTORY_HOST": "127.0.0.1"}
    log = stage.root.parent / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(inside(stage, see, [*stage.entry, "serve"]), stdout=out, stderr=out)
    try:
        host = Host(f"http://127.0.0.1:{port}", process, log)
        begun = time.monotonic()
        host.comes_up()
        print(f"healthy after {time.monotonic() - begun:.1f} s", flush=True)
        photo = (PHOTOS / "00181.jpg").read_bytes()
        answer = host.post(photo, JPEG)
        expected = Counter.load("open").count(photo)
        print(f"{answer.status_code} {answer.text[:100]}…\nin this process: {expected.count}", flush=True)
        if answer.status_code != 200 or answer.json()["count"] != expected.count:
            sys.exit("error: the image counts otherwise than this process does")
    finally:
        process.terminate()
        status = process.wait(40)
        print(log.read_text(errors="replace"), end="")
    if status != 0:
        sys.exit(f"error: after SIGTERM the entry point ended with status {status}")


def main() -> None:
    """Build and try out; exit 1 where a step fails or the count differs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--target", default="serve", choices=["serve", "train"])
    options.add_argument("--base", type=Path, help=f"a root made with debootstrap --variant=minbase {SUITE}")
    options.add_argument("--see", action="append", default=[], metavar="DIR")
    given = options.parse_args()
    if os.geteuid() != 0 or not (given.base or shutil.which("debootstrap")):
        sys.exit("error: this wants root and debootstrap. Try: sudo apt-get install debootstrap.")
    see = [*given.see, *(one for one in _PIPS if Path(one).is_file())]
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        work = Path(folder)
        base = given.base or work / "base"
        if not given.base:
            print(f"== debootstrap {SUITE}", flush=True)
            subprocess.run(
                ["debootstrap", "--variant=minbase", SUITE, str(base)], check=True, stdout=subprocess.DEVNULL
            )
        stage = build(given.target, base, work, see)
        size = subprocess.run(["du", "-sxm", str(stage.root)], capture_output=True, text=True, check=True).stdout
        print(f"{given.target}: {int(size.split()[0]):,} MB on disk", flush=True)
        if given.target == "serve":
            try_out(stage, see)
        else:
            subprocess.run(
                inside(stage, see, ["python", "-c", "import torch, timm, binventory.learning.full.run"]), check=True
            )
    print(f"the image's steps run, target {given.target}")


if __name__ == "__main__":
    main()
