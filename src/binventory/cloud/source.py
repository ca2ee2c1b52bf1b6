"""``sourcedir.tar.gz``: what SageMaker's toolkit unpacks, installs and runs in AWS's own training image.

The toolkit (sagemaker-training, ``modules.install_requirements``) unpacks it, runs ``pip install -r requirements.txt``
in its folder, then the program. So it holds the program, this package as a wheel, and pins with hashes of everything
that training needs beside torch, which the image brings: a job installs what was tried, or nothing. For networks
without a way out it can carry the wheels, too.
"""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path

import binventory
from binventory import objects
from binventory.errors import InputError, OutsideError

PROGRAM = "train_model.py"
"""The name of the program in the archive: the hyperparameter ``sagemaker_program``."""

DOOR = '''"""What a SageMaker training job runs: ``binventory train`` on the job's channels."""

from binventory.cloud.container import main

if __name__ == "__main__":
    main()
'''
"""The program itself."""

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(path: Path, wheelhouse: Path | None = None) -> str:
    """Write the archive for ``sagemaker_submit_directory`` and return its sha256; the same parts give the same bytes.

    ``wheelhouse``: a folder with the wheels that ``requirements()`` pins, for the image's Python and platform, which
    then travel along, and nothing is fetched. To fill it: ``pip download --only-binary=:all: --require-hashes
    --python-version 3.12 --platform manylinux_2_28_x86_64 --no-deps -r REQUIREMENTS -d DIR``.

    Raises InputError where a wheel is missing in it, OutsideError where the disk refuses or the package has no
    metadata.
    """
    name, data = wheel()
    wheels = _wheels(wheelhouse) if wheelhouse else []
    members = {PROGRAM: DOOR.encode(), name: data}
    members["requirements.txt"] = _requirements(name, data, bool(wheels)).encode()
    with objects.replacing(path) as temporary:
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as zipped,  # without a name, which would differ
            tarfile.open(fileobj=zipped, mode="w") as tar,
        ):
            for member in sorted(members):
                tar.addfile(_entry(member, len(members[member])), io.BytesIO(members[member]))
            for one in wheels:
                with one.open("rb") as file:
                    tar.addfile(_entry(f"wheelhouse/{one.name}", one.stat().st_size), file)
        return _digest(temporary)


def requirements() -> str:
    """The pins, with hashes: what training needs beside torch and torchvision, on Python 3.11 and later."""
    return (files("binventory.cloud") / "requirements.txt").read_text(encoding="utf-8")


def wheel() -> tuple[str, bytes]:
    """This package as it runs here, as a wheel: its file name and bytes.

    It is packed from the files that are imported and the metadata that pip has installed, so that it needs neither a
    source checkout nor a build backend; the package is pure Python. Raises OutsideError where pip knows nothing of it.
    """
    try:
        known = distribution("binventory")
    except PackageNotFoundError:
        raise OutsideError("The package cannot be packed", "pip has not installed it, so it has no metadata",
                           "pip install binventory") from None  # fmt: skip
    version = binventory.__version__
    if known.version != version:
        raise OutsideError("The package cannot be packed", f"its files are of {version}, its metadata of "
                           f"{known.version}", "pip install it anew") from None  # fmt: skip
    info = f"binventory-{version}.dist-info"
    members = dict(_package()) | dict(_metadata(known, info))
    members[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: binventory {version}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ).encode()
    record = f"{info}/RECORD"
    page = io.StringIO()
    lines = csv.writer(page, lineterminator="\n")
    for name in sorted(members):
        digest = base64.urlsafe_b64encode(hashlib.sha256(members[name]).digest()).rstrip(b"=").decode()
        lines.writerow((name, f"sha256={digest}", len(members[name])))
    lines.writerow((record, "", ""))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in (*sorted(members), record):
            entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, members.get(name, page.getvalue().encode()))
    return f"binventory-{version}-py3-none-any.whl", packed.getvalue()


def _package() -> Iterator[tuple[str, bytes]]:
    """The files of the package that is imported."""
    root = Path(binventory.__file__).parent
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"binventory/{path.relative_to(root).as_posix()}", path.read_bytes()


def _metadata(known: Distribution, info: str) -> Iterator[tuple[str, bytes]]:
    """What pip knows of it: name and dependencies, the command, and the licences."""
    for name in ("METADATA", "entry_points.txt"):
        yield f"{info}/{name}", (known.read_text(name) or "").encode()
    for path in known.files or ():
        if ".dist-info" in path.parts[0] and "licenses" in path.parts:
            yield f"{info}/{'/'.join(path.parts[1:])}", Path(str(path.locate())).read_bytes()


def _requirements(wheel: str, data: bytes, closed: bool) -> str:
    """What pip is given in the container: our wheel and the pins, from the archive alone where ``closed``."""
    options = "--no-index\n--find-links ./wheelhouse\n" if closed else ""
    return f"{options}./{wheel} --hash=sha256:{hashlib.sha256(data).hexdigest()}\n{requirements()}"


def _wheels(folder: Path) -> list[Path]:
    """The wheels in a folder, by name. Raises InputError where one is missing that every Python needs."""
    found = sorted(folder.glob("*.whl"))
    there = {tuple(_plain(part) for part in path.name.split("-")[:2]) for path in found}
    pins = re.findall(r"^([\w.-]+)==([^ ;]+) \\$", requirements(), re.MULTILINE)
    missing = [f"{name}=={version}" for name, version in pins if (_plain(name), _plain(version)) not in there]
    if missing:
        few = ", ".join(missing[:3]) + (" …" if missing[3:] else "")
        raise InputError(f"{folder} is no whole wheelhouse", f"it lacks {len(missing)} wheels ({few})",
                         "pip download --only-binary=:all: --no-deps, into it")  # fmt: skip
    return found


def _plain(name: str) -> str:
    """A project's name or version as wheels' file names and pins can be compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
