"""What a model is on S3: our bundle as ``model.tar.gz``, beside it, where AWS's own image serves, a folder ``code``.

It lies under its content's hash, so that the same bundle is uploaded once.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from binventory.cloud.session import Session, told
from binventory.counting import bundle as bundles
from binventory.counting.bundle import Bundle
from binventory.errors import InputError, MissingError, OutsideError

CODE = "code"
CODE_DIR = "/opt/ml/model/code"
"""Where SageMaker unpacks it."""


def packed(bundle: Bundle, code: Mapping[str, bytes] | None = None) -> bytes:
    """``model.tar.gz``: the bundle's members at its root, ``code``'s below ``code/``. The same gives the same."""
    below = {f"{CODE}/{name}": data for name, data in sorted((code or {}).items())}
    return bundles.archived({**bundle.members(), **below})


def digest(data: bytes) -> str:
    """What an archive is known by: sixteen digits of its sha256."""
    return hashlib.sha256(data).hexdigest()[:16]


def stored(aws: Session, data: bytes, store: str, path: str, kms: str | None) -> str:
    """The ``s3://`` address of bytes below ``store``; they are uploaded, encrypted, where nothing lies there yet.

    ``path`` is to name the content, by its hash. Raises as ``told`` does, InputError for a ``store`` that is none.
    """
    bucket, prefix = place(store)
    key = "/".join(part for part in (prefix, path) if part)
    address = f"s3://{bucket}/{key}"
    client = aws.client("s3")
    try:
        with told(f"{address} cannot be looked for", "s3"):
            if client.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(data):
                return address
    except MissingError:
        pass
    except InputError:  # without s3:ListBucket, what is missing is forbidden
        pass
    # Without a key of the user's own S3 encrypts by itself, with its own.
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms} if kms else {}
    with told(f"{address} cannot be written", "s3"):
        client.upload_fileobj(io.BytesIO(data), bucket, key, ExtraArgs=encrypted)
    return address


def place(address: str) -> tuple[str, str]:
    """Bucket and key of an address, the key without slashes at its ends. Raises InputError."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not address.startswith("s3://") or not bucket:
        raise InputError(f"{address} names no bucket", "addresses read s3://bucket/prefix", "s3://BUCKET/PREFIX")
    return bucket, key.strip("/")


def code(wheel: tuple[str, bytes], pins: str) -> dict[str, bytes]:
    """What AWS's handler-based image wants beside the model: the handler, our wheel (name and bytes), and pins with
    hashes of what it needs, cut to what counting takes of ``pins``.

    The image runs ``pip install -r`` on them before it answers. Raises OutsideError where this installation lacks the
    handler.
    """
    name, data = wheel
    sha256 = hashlib.sha256(data).hexdigest()
    needed = f"{CODE_DIR}/{name} --hash=sha256:{sha256}\n{_cut(pins, _closure('binventory'))}"
    return {"inference.py": _handler(), name: data, "requirements.txt": needed.encode()}


def _handler() -> bytes:
    """``inference.py``, as installed or as it stands in a checkout."""
    checkout = Path(__file__).parents[3] / "sagemaker" / "code" / "inference.py"
    for path in (Path(__file__).parent / "inference.py", checkout):
        if path.is_file():
            return path.read_bytes()
    raise OutsideError("The model cannot be packed for AWS's own image", "inference.py is not installed",
                       "pip install binventory again, or --image") from None  # fmt: skip


def _closure(root: str) -> frozenset[str]:
    """The names of all packages that a package needs to run here, extras aside."""
    found: set[str] = set()
    todo = [root]
    while todo:
        name = todo.pop()
        with suppress(PackageNotFoundError):
            for line in distribution(name).requires or ():
                other = _plain(re.split(r"[^\w.-]", line, maxsplit=1)[0])
                if "extra ==" not in line and other not in found:
                    found.add(other)
                    todo.append(other)
    return frozenset(found)


def _cut(pins: str, names: frozenset[str]) -> str:
    """The pins of these packages alone, hashes and all."""
    blocks = re.findall(r"^([\w.-]+)(==.*(?:\n[ \t].*)*)\n?", pins, re.MULTILINE)
    return "".join(f"{name}{rest}\n" for name, rest in blocks if _plain(name) in names)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
