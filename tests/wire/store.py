"""What jobs pull from S3 and push to it: prefixes into folders, and folders into prefixes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from s3server import S3Server


@dataclass(frozen=True)
class Store:
    """The S3 server of the tests, as SageMaker's own role sees it."""

    server: S3Server

    @cached_property
    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3", endpoint_url=self.server.endpoint, region_name="us-east-1",
            aws_access_key_id=self.server.key, aws_secret_access_key=self.server.secret,
            config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    @property
    def environment(self) -> Mapping[str, str]:
        """What a container is given so that its own clients reach the store."""
        return {
            "AWS_ACCESS_KEY_ID": self.server.key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret,
            "AWS_ENDPOINT_URL_S3": self.server.endpoint,
            "S3_ENDPOINT_URL": self.server.endpoint,
        }

    def keys(self, uri: str) -> list[str]:
        """All keys that begin with a prefix, in order, as SageMaker's S3Prefix means it: no folder is meant."""
        bucket, prefix = split(uri)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(one["Key"] for page in pages for one in page.get("Contents", []))

    def pull(self, uri: str, folder: Path, keys: list[str] | None = None) -> int:
        """Copy the objects below a prefix into a folder, named from the prefix's last slash on. How many."""
        bucket, prefix = split(uri)
        cut = len(prefix) if prefix.endswith("/") or not prefix else len(prefix) + 1
        folder.mkdir(parents=True, exist_ok=True)
        wanted = self.keys(uri) if keys is None else keys
        for key in wanted:
            name = key[cut:] or key.rpartition("/")[2]
            if not name.endswith("/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                self.client.download_file(bucket, key, str(folder / name))
        return len(wanted)

    def push(self, folder: Path, uri: str) -> int:
        """Copy a folder's files below a prefix. How many."""
        bucket, prefix = split(uri.rstrip("/") + "/")
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        for path in files:
            self.client.put_object(
                Bucket=bucket, Key=prefix + path.relative_to(folder).as_posix(), Body=path.read_bytes()
            )
        return len(files)

    def push_packed(self, folder: Path, uri: str) -> None:
        """A folder's members as one tar.gz, as SageMaker makes model.tar.gz: no folder around them."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
            for member in sorted(folder.iterdir()):
                tar.add(member, member.name)
        bucket, key = split(uri)
        self.client.put_object(Bucket=bucket, Key=key, Body=packed.getvalue())

    def read(self, uri: str) -> bytes:
        """An object's bytes."""
        bucket, key = split(uri)
        body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def lines(self, uri: str) -> Iterator[str]:
        """An object's lines."""
        yield from self.read(uri).decode().splitlines()


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 address."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
