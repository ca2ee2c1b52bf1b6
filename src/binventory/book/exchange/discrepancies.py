"""What was received against what was declared, in the words of a receiving advice (UN/EDIFACT RECADV). Pure.

The codes are those of data element 4221 in its segment QVR: ``AC`` over-shipped, ``CP`` shipment partial, considered
complete, ``AE`` delivered but not advised. That list has no word of its own for what is missing altogether; GS1's
EANCOM tells it by a reason (4295) beside the same ``CP``. Whether the rest is to follow (``BP``) only the sender knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from binventory.book.entries import Declared, Entry
from binventory.book.exchange import gs1

Word = Literal["over-shipped", "short-shipped", "missing", "not advised"]
Code = Literal["AC", "CP", "AE"]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A tote in which something else was found than was declared.

    ``declared`` None: nothing was. ``difference``: found less declared, as QVR has it (6064): negative where items
    lack. ``sscc``: the tote's, where it is known.
    """

    bin: str
    sscc: str | None
    declared: int | None
    found: int
    difference: int
    word: Word
    code: Code

    def as_row(self) -> dict[str, object]:
        """The discrepancy as it stands in JSON output and tables."""
        return asdict(self)


def discrepancies(declared: Sequence[Entry], found: Mapping[str, int]) -> list[Discrepancy]:
    """Where ``found`` (items by tote) differs from what the entries declare, in their order; not advised totes last.

    Of several declarations of a tote the last counts. A tote that is not in ``found`` was not looked at and is no
    discrepancy; one that did not come, or came empty, is found with 0.
    """
    latest = {one.bin: one.body for one in declared if isinstance(one.body, Declared) and one.bin is not None}
    told = []
    for bin, body in latest.items():
        if bin in found and found[bin] != body.quantity:
            difference = found[bin] - body.quantity
            word: Word = "over-shipped" if difference > 0 else "short-shipped" if found[bin] else "missing"
            code: Code = "AC" if difference > 0 else "CP"
            told.append(Discrepancy(bin, body.sscc, body.quantity, found[bin], difference, word, code))
    for bin, quantity in found.items():
        if bin not in latest and quantity > 0:
            sscc = bin if gs1.is_sscc(bin) else None
            told.append(Discrepancy(bin, sscc, None, quantity, quantity, "not advised", "AE"))
    return told
