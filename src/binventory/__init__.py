"""Binventory counts the items in photos of warehouse bins and says how sure it is.

    from binventory import Counter
    Counter.load().count("bin.jpg")

What stands in ``__all__`` is the promise; everything else may change.
"""

from __future__ import annotations

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
from binventory.records import BinRecord, Count, Counts, Item, Photo

if TYPE_CHECKING:
    from binventory.counting.counter import Counter

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
    "RecordError",
    "StoppedError",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> object:
    # The counter brings numpy and the runtime; `binventory --help` should not wait for them.
    if name == "Counter":
        from binventory.counting.counter import Counter

        return Counter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
