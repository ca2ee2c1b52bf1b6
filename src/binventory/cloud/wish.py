"""What is asked for on SageMaker beside the recipe; it stands alone, so that help comes without anything heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Wish:
    """Where and how a job shall run. Empty strings mean what is usual; lists are as they were typed.

    ``to``: the s3:// prefix below which its parts lie. ``max_hours``: the longest that it may run. ``streamed``:
    photos are read as they are needed (FastFile). ``isolated``: no network at all. ``wheelhouse``: packages that the
    job takes along. ``wait``: follow it to its end. ``dry``: ask for nothing.
    """

    to: str
    role: str
    name: str = ""
    region: str | None = None
    image: str = ""
    instance: str = ""
    instances: int = 1
    volume: int = 50
    max_hours: float = 4.0
    spot: bool = False
    streamed: bool = False
    isolated: bool = False
    subnets: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    kms_key: str = ""
    tags: tuple[str, ...] = ()
    wheelhouse: Path | None = None
    wait: bool = True
    dry: bool = False
