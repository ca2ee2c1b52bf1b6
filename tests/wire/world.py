"""A small AWS on loopback: S3 by SeaweedFS, SageMaker and its logs by the wire, and a user's environment for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s3server import S3Server
from wire.logs import Logs
from wire.server import REGION, Wire, serving
from wire.store import Store
from wire.training import Training
from wire.tuning import Tuning


@dataclass(frozen=True, slots=True)
class World:
    """What runs, and the environment in which ``binventory`` meets it."""

    wire: Wire
    store: Store
    logs: Logs
    training: Training
    tuning: Tuning

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a user who may do everything there."""
        server = self.store.server
        return {
            "AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret, "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": self.wire.endpoint,
            "AWS_ENDPOINT_URL_S3": server.endpoint, "BINVENTORY_ROLE": "counting",
        }  # fmt: skip


@contextmanager
def made(server: S3Server, folder: Path) -> Iterator[World]:
    """The world, with its jobs' folders below ``folder``, until the block ends."""
    with serving() as wire:
        store, logs = Store(server), Logs(wire)
        training = Training(wire, store, logs, folder)
        yield World(wire, store, logs, training, Tuning(wire, training))
