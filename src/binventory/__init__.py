"""Binventory counts the items in photos of warehouse bins and says how sure it is.

    from binventory import Counter
    Counter.load().count("bin.jpg")

and whether a bin's record may stand: ``verify(count, record)``.

What stands in ``__all__`` is the promise; everything else may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from binventory.errors import (
    BinventoryError,
    BundleError,
    InputError,
    LeakError,
    MissingError,
    OutsideError,
    PhotoError,
    RecordError,
    StoppedError,
    UsageError,
)
from binventory.records import BinRecord, Count, Counts, Item, Photo, Verdict

if TYPE_CHECKING:
    from binventory.counting.counter import Counter
    from binventory.deciding.policy import Policy
    from binventory.deciding.rule import Rule
    from binventory.deciding.verify import verify

__version__ = "0.1.0"
__all__ = [
    "BinRecord",
    "BinventoryError",
    "BundleError",
    "Count",
    "Counter",
    "Counts",
    "InputError",
    "Item",
    "LeakError",
    "MissingError",
    "OutsideError",
    "Photo",
    "PhotoError",
    "Policy",
    "RecordError",
    "Rule",
    "StoppedError",
    "UsageError",
    "Verdict",
    "__version__",
    "verify",
]

_LATER = {
    "Counter": "binventory.counting.counter",
    "Policy": "binventory.deciding.policy",
    "Rule": "binventory.deciding.rule",
    "verify": "binventory.deciding.verify",
}
"""What brings numpy, the runtime or msgspec, and where it lives: `binventory --help` should not wait for them."""


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
