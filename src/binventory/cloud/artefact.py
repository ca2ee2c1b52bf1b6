"""What a model is on S3: our bundle as ``model.tar.gz``, beside it, where AWS's own image serves, a folder ``code``.

It lies under its content's hash, so that the same bundle is uploaded once.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping

from binventory.cloud.session import Session, told
from binventory.counting import bundle as bundles
from binventory.counting.bundle import Bundle
from binventory.errors import InputError, MissingError

CODE = "code"


def packed(bundle: Bundle, code: Mapping[str, bytes] | None = None) -> bytes:
    """``model.tar.gz``: the bundle's members at its root, ``code``'s below ``code/``. The same in gives the same out."""
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
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms} if kms else {"ServerSideEncryption": "AES256"}
    with told(f"{address} cannot be written", "s3"):
        client.upload_fileobj(io.BytesIO(data), bucket, key, ExtraArgs=encrypted)
    return address


def place(address: str) -> tuple[str, str]:
    """Bucket and key of an address, the key without slashes at its ends. Raises InputError."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not address.startswith("s3://") or not bucket:
        raise InputError(f"{address} names no bucket", "addresses read s3://bucket/prefix", "s3://BUCKET/PREFIX")
    return bucket, key.strip("/")
