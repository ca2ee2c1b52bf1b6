"""Every error that a user can meet, as one tree.

    BinventoryError         what, why, next step
    ├── UsageError          exit 2, HTTP 400: the command or a setting is not one that exists
    │   └── RequestError    a request that a server of ours does not take; HTTP 4xx or 503 as it says itself
    ├── InputError          exit 3, HTTP 422: what was given cannot be used
    │   ├── MissingError    there is nothing at an address
    │   ├── PhotoError      a photo without usable pixels
    │   ├── BundleError     a bundle that cannot be trusted or read
    │   ├── RecordError     a record, label or list that contradicts itself or cannot be read
    │   └── LeakError       a split whose sides share a bin
    ├── OutsideError        exit 4, HTTP 502: network, disk or another service failed
    └── StoppedError        exit 143, HTTP 503: told to end (SIGTERM), and did so in order

Exit 1 is kept for the answer "no", which is no error. Exit 130 is an interrupt.
"""

from __future__ import annotations


class BinventoryError(Exception):
    """One sentence for a person: what is wrong with which thing, why, and what to type or do next.

    Parts are phrases without a full stop at the end; ``str()`` joins them.
    """

    exit_status = 4
    http_status = 500

    def __init__(self, what: str, why: str, next: str) -> None:
        super().__init__(what, why, next)
        self.what = what
        self.why = why
        self.next = next

    def __str__(self) -> str:
        starts_with_word = self.why.partition(" ")[0].isalpha()  # a file's name keeps its letters
        why = self.why[:1].upper() + self.why[1:] if starts_with_word else self.why
        return f"{self.what}. {why}. Try: {self.next}."

    def as_row(self) -> dict[str, str]:
        """The error as it stands in JSON output: ``{what, why, next}``."""
        return {"what": self.what, "why": self.why, "next": self.next}


class UsageError(BinventoryError):
    """The command, an option or a recipe setting is not one that exists."""

    exit_status = 2
    http_status = 400


class RequestError(UsageError):
    """A request that a server of ours does not take. ``http_status``: which 4xx, or 503 for not now."""

    def __init__(self, what: str, why: str, next: str, http_status: int = 400) -> None:
        super().__init__(what, why, next)
        self.http_status = http_status


class InputError(BinventoryError):
    """Something given by the user cannot be used as it is."""

    exit_status = 3
    http_status = 422


class MissingError(InputError):
    """There is nothing at an address: no file, no object, no photo in a folder."""


class PhotoError(InputError):
    """A photo that gives no pixels: missing, truncated, hostile, or no picture at all."""


class BundleError(InputError):
    """A bundle that is damaged, unsafe, or of a kind that this version does not read."""


class RecordError(InputError):
    """A record, label or list that contradicts itself or cannot be read."""


class LeakError(InputError):
    """A split that puts two photos of one bin on different sides."""

    http_status = 409


class OutsideError(BinventoryError):
    """Something outside failed: a network, a disk, another service."""

    exit_status = 4
    http_status = 502


class StoppedError(BinventoryError):
    """What was under way has been told to end (SIGTERM), has kept what it had, and can go on."""

    exit_status = 143
    http_status = 503
