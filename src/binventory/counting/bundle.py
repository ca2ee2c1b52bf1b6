"""A bundle: a trunk, a head, a calibration, and where they come from. Read with suspicion, written whole or not at all.

A directory or the same as ``.tar.gz``, on disk or S3, or the name of one that ships with the package.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import io
import os
import tarfile
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import msgspec
import numpy as np

from binventory import objects
from binventory.counting import calibration as calibrations
from binventory.counting import head as heads
from binventory.counting.calibration import Calibration
from binventory.counting.head import Head
from binventory.errors import BundleError, InputError
from binventory.photo import Fit, Pixels
from binventory.records import LEVELS, TAIL, TOP

FORMAT = 1
SEEN_HEADER = "id,sha256,likeness,side,part"
SHORT = 16
"""How many hex digits of a photo's sha256 a bundle keeps of what it learnt from."""

MANIFEST = "bundle.json"
PARTS = ("trunk.onnx", "head.safetensors", "calibration.json", "card.md", "seen.csv")
OPTIONAL = ("probe.npz", "trunk.safetensors", "LICENSE", "deciding.json")
CODE = "code"
"""The folder in which SageMaker's handler-based images want ``inference.py`` beside the model: never looked into."""

SHIPPED = ("abid", "open")
"""The bundles that may ship with the package, the default first."""

_MOST_BYTES = 600 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Input:
    """What the trunk wants: pictures of ``height`` x ``width`` pixels, fitted how."""

    height: int
    width: int
    fit: Fit


@dataclass(frozen=True, slots=True)
class Manifest:
    """``bundle.json``: everything about a bundle but its numbers.

    ``trained_prior`` is the mix of counts that it learnt from, ``prior`` the one its distributions stand under;
    ``tail_mean`` the mean quantity above 20; ``hashes`` the sha256 of every other member; ``learnt_from`` how many
    photos and runs each side had; ``left_out`` how many photos of what it could have learnt from were cleaned, in all
    and by each rule; ``figures`` what it scored, with n, runs and intervals;
    ``note`` what a user should know before trusting it.
    """

    name: str
    input: Input
    licence: str
    derived_from: tuple[str, ...]
    runtime: str
    trained_prior: tuple[float, ...]
    reference_prior: tuple[float, ...]
    prior: tuple[float, ...]
    tail_mean: float
    learnt_from: dict[str, dict[str, int]]
    recipe: dict[str, Any]
    figures: dict[str, Any]
    version: str
    hashes: dict[str, str]
    left_out: dict[str, int] = field(default_factory=dict)
    note: str = ""
    kind: Literal["quick", "full"] = "quick"
    top: int = TOP
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Probe:
    """Drawn photos uint8 [8, H, W, 3] and the features float32 [8, D] that the maker's machine gave them."""

    photos: Pixels
    features: np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A whole bundle in memory. ``seen``: CSV of every photo that it learnt from, the sha256 cut to
    ``SHORT`` digits, and whether ``head`` or ``trunk`` did. ``deciding``: what was learnt about passing records, as
    JSON that counting does not look into; None where nothing was."""

    manifest: Manifest
    trunk: bytes
    head: Head
    calibration: Calibration
    card: str
    seen: bytes
    probe: Probe | None = None
    extra: tuple[tuple[str, bytes], ...] = ()
    deciding: bytes | None = None

    def members(self) -> dict[str, bytes]:
        """Every member's bytes by name, ``bundle.json`` with fresh hashes first."""
        parts = {
            "trunk.onnx": self.trunk,
            "head.safetensors": self.head.to_bytes(),
            "calibration.json": self.calibration.to_bytes(),
            "card.md": self.card.encode(),
            "seen.csv": self.seen,
            **({"probe.npz": _probe_bytes(self.probe)} if self.probe else {}),
            **({"deciding.json": self.deciding} if self.deciding is not None else {}),
            **dict(self.extra),
        }
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
        manifest = msgspec.json.encode(replace(self.manifest, hashes=hashes))
        return {MANIFEST: msgspec.json.format(manifest, indent=2) + b"\n", **parts}


def default() -> str:
    """The name of the bundle that counts when none is named: the first of ``SHIPPED`` that is there."""
    return next(name for name in SHIPPED if _shipped(name) is not None)


def load(address: str | os.PathLike[str] | None = None) -> Bundle:
    """Read a bundle: a path or ``s3://`` address of a directory or ``.tar.gz``, or a shipped one's name.

    Raises OutsideError where S3 does not answer, MissingError where it has nothing there, and BundleError for what is
    missing, damaged, unsafe (links, pickles, paths that leave the bundle, weights
    kept outside, oversize members) or made by a later version.
    """
    name = os.fspath(address) if address is not None else default()
    if not name:
        raise BundleError("The bundle has no name", "an empty one was given", "--bundle open")
    members = _members(name)
    manifest = _manifest(members, name)
    for member, expected in manifest.hashes.items():
        if member not in members:
            raise _broken(name, f"{member} is missing")
        if hashlib.sha256(members[member]).hexdigest() != expected:
            raise _broken(name, f"{member} is not what {MANIFEST} says (its sha256 differs)")
    for part in PARTS:
        if part not in manifest.hashes:
            raise _broken(name, f"{MANIFEST} does not name {part}")
    return Bundle(
        manifest,
        members["trunk.onnx"],
        heads.from_bytes(members["head.safetensors"], f"{name}: head.safetensors"),
        calibrations.from_bytes(members["calibration.json"], f"{name}: calibration.json"),
        members["card.md"].decode(errors="replace"),
        _checked_seen(members["seen.csv"], name),
        _read_probe(members["probe.npz"], manifest.input, name) if "probe.npz" in manifest.hashes else None,
        tuple((member, members[member]) for member in ("trunk.safetensors", "LICENSE") if member in manifest.hashes),
        members["deciding.json"] if "deciding.json" in manifest.hashes else None,
    )


def save(bundle: Bundle, address: str | os.PathLike[str]) -> None:
    """Write a bundle to a directory, or to a ``.tar.gz`` path or ``s3://`` address; what stood there is replaced.

    Directories and archives are written whole or not at all; below an S3 prefix, ``bundle.json`` comes last.

    Raises BundleError where a directory is in the way that is no bundle, OutsideError where the disk refuses.
    """
    name, members = os.fspath(address), bundle.members()
    if name.endswith(".tar.gz"):
        objects.write(name, archived(members))
        return
    if objects.is_remote(name):
        for member in reversed(members):  # bundle.json last: a half-written prefix is not a bundle
            objects.write(f"{name.rstrip('/')}/{member}", members[member])
        return
    refuse_overwriting(name)
    with objects.replacing(Path(name)) as temporary:
        temporary.mkdir()
        for member, data in members.items():
            (temporary / member).write_bytes(data)


def refuse_overwriting(address: str) -> None:
    """Raise BundleError where something stands at a directory address that is not a bundle."""
    path = Path(address)
    if objects.is_remote(address) or address.endswith(".tar.gz") or not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / MANIFEST).is_file()):
        raise BundleError(f"{address} is in the way", "it exists and is no bundle", "choose another --out")


def _members(name: str) -> dict[str, bytes]:
    if objects.is_remote(name):
        if name.endswith(".tar.gz"):
            return _untar(objects.read(name, _MOST_BYTES), name)
        root = name.rstrip("/")
        manifest = _manifest({MANIFEST: objects.read(f"{root}/{MANIFEST}", _MOST_BYTES)}, name)
        wanted = [member for member in manifest.hashes if member in (*PARTS, *OPTIONAL)]
        return {member: objects.read(f"{root}/{member}", _MOST_BYTES) for member in (MANIFEST, *wanted)}
    path = Path(name)
    if not os.path.lexists(name):
        shipped = _shipped(name)
        if shipped is None:
            raise _unknown(name)
        path = shipped
    if path.is_dir():
        return _read_folder(path, name)
    try:
        return _untar(objects.read(str(path), _MOST_BYTES), name)
    except BundleError:
        raise
    except InputError as error:
        raise BundleError(error.what, error.why, "give a directory or a .tar.gz") from None


def _read_folder(folder: Path, name: str) -> dict[str, bytes]:
    members = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__")) or (path.name == CODE and path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink():
            raise _unsafe(name, f"{path.name} is a link")
        if path.is_dir():
            raise _unsafe(name, f"it holds the folder {path.name}, and a bundle has none")
        _refuse_member(path.name, name)
        try:
            members[path.name] = objects.read(str(path), _MOST_BYTES)
        except InputError as error:
            raise BundleError(error.what, error.why, "copy the bundle again") from None
    return members


def _untar(data: bytes, name: str) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as archive:
            for entry in archive:
                member = entry.name.removeprefix("./")
                total += entry.size
                if total > _MOST_BYTES:
                    raise _unsafe(name, f"it unpacks to more than {_MOST_BYTES:,} bytes")
                if entry.isdir() and member.partition("/")[0] in ("", ".", CODE):
                    continue
                if entry.isreg() and member.startswith(f"{CODE}/"):
                    continue
                if not entry.isreg():
                    kind = "a link" if entry.issym() or entry.islnk() else "no regular file"
                    raise _unsafe(name, f"{member} is {kind}")
                if "/" in member or "\\" in member:
                    raise _unsafe(name, f"{member} lies in a folder, and a bundle has none")
                _refuse_member(member, name)
                file = archive.extractfile(entry)
                if member in members or file is None:
                    raise _unsafe(name, f"{member} stands in it twice")
                members[member] = file.read()
    except (tarfile.TarError, EOFError, OSError, gzip.BadGzipFile) as error:
        raise BundleError(
            f"{name} is not a bundle", f"it does not read as .tar.gz ({error})", "give a directory or a .tar.gz"
        ) from None
    return members


def _refuse_member(member: str, name: str) -> None:
    if member.lower().endswith((".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy")):
        raise _unsafe(name, f"{member} may be a pickle, and reading a pickle can run anything")
    if member not in (MANIFEST, *PARTS, *OPTIONAL):
        raise _unsafe(name, f"{member} is no part of a bundle")


def _manifest(members: dict[str, bytes], name: str) -> Manifest:
    if MANIFEST not in members:
        raise BundleError(f"{name} is not a bundle", f"it holds no {MANIFEST}", "name a bundle's own directory")
    try:
        version = msgspec.json.decode(members[MANIFEST], type=_Format).format
        if version != FORMAT:
            raise BundleError(
                f"{name} has bundle format {version}", f"this version reads format {FORMAT}", "update binventory"
            )
        manifest = msgspec.json.decode(members[MANIFEST], type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _broken(name, f"{MANIFEST}: {error}") from None
    priors = (manifest.trained_prior, manifest.reference_prior, manifest.prior)
    if manifest.top != TOP or any(not _is_prior(prior) for prior in priors):
        raise _broken(name, f"its priors are not {LEVELS} positive shares that sum to 1")
    if not TAIL <= manifest.tail_mean <= 1e6:
        raise _broken(name, f"its tail's mean of {manifest.tail_mean:g} is absurd")
    if not (8 <= manifest.input.height <= 2048 and 8 <= manifest.input.width <= 2048):
        raise _broken(name, f"its input of {manifest.input.height} x {manifest.input.width} pixels is absurd")
    return manifest


def _is_prior(shares: tuple[float, ...]) -> bool:
    return len(shares) == LEVELS and min(shares) > 0 and abs(sum(shares) - 1) < 1e-3


@dataclass(frozen=True, slots=True)
class _Format:
    format: int


def _shipped(name: str) -> Path | None:
    folder = Path(str(files("binventory").joinpath("shipped")))
    places = (folder / name / MANIFEST, folder / f"{name}.tar.gz")
    found = next((place for place in places if place.is_file()), None) if name in SHIPPED else None
    return found.parent if found is not None and found.name == MANIFEST else found


def _probe_bytes(probe: Probe) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, photos=probe.photos, features=probe.features)
    return buffer.getvalue()


def _read_probe(data: bytes, size: Input, name: str) -> Probe:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            probe = Probe(arrays["photos"], arrays["features"].astype(np.float32))
    except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile, AttributeError) as error:
        raise _unsafe(name, f"probe.npz does not read as plain arrays ({error})") from None
    shape = (len(probe.features), size.height, size.width, 3)
    if probe.photos.dtype != np.uint8 or probe.photos.shape != shape or probe.features.ndim != 2 or not shape[0]:
        raise _broken(name, f"probe.npz does not fit: its photos are {probe.photos.dtype} {list(probe.photos.shape)}")
    return probe


def _checked_seen(data: bytes, name: str) -> bytes:
    """An unreadable list of what was learnt from would pass for "nothing", and flatter every figure."""
    if not data.startswith(SEEN_HEADER.encode() + b"\n"):
        raise _broken(name, f"seen.csv does not begin with {SEEN_HEADER}")
    return data


def archived(members: dict[str, bytes]) -> bytes:
    """Members by name as ``.tar.gz``; the same in gives the same out, whenever."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for member, data in members.items():
            entry = tarfile.TarInfo(member)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _unknown(name: str) -> BundleError:
    there = [one for one in SHIPPED if _shipped(one)]
    near = difflib.get_close_matches(name, there, n=1) or there
    return BundleError(f"Bundle {name} does not exist", f"it is no path, and what ships is {', '.join(there)}",
                       f"--bundle {near[0] if near else 'DIR'}")  # fmt: skip


def _broken(name: str, why: str) -> BundleError:
    return BundleError(f"Bundle {name} is damaged", why, "copy it again, or make it again with train")


def _unsafe(name: str, why: str) -> BundleError:
    return BundleError(f"Bundle {name} is refused", why, "use a bundle from train, unchanged")
