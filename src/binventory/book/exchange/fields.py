"""What other systems' tables call their columns, and how their cells read as quantities, times and names. Pure.

Names are taken in Unicode's composed form (NFC), so that what looks alike is one. A time is from 1990 to a day ahead.

A quantity is a whole number from 0 to 100,000: ``12``, ``12.0`` and ``12,00`` are twelve. ``1,200`` and ``12.000`` are
refused, since they are one number in one country and another in the next. In sizes, weights and values a point is a
decimal point, and so is a comma (``12,5``) but where three digits follow it (``1,234``), which is refused likewise.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import TypeVar

from binventory.book import intake
from binventory.book.exchange import gs1
from binventory.book.exchange.cells import Line, Row
from binventory.errors import InputError, RecordError

MOST = 100_000
"""The highest quantity, and the most that a movement moves."""
MOST_MEASURE = 1_000_000_000
"""The highest size, weight and value: sums of a whole site's stay finite."""

T = TypeVar("T")

COLUMNS: Mapping[str, str] = {
    "bin": "bin_id bin_code bin_no bin_number bin_name bin_location location location_id location_code location_name "
    "storage_bin storage_location slot shelf lagerplatz platz",
    "quantity": "qty on_hand onhand qty_on_hand quantity_on_hand on_hand_qty on_hand_quantity stock stock_qty expected "
    "expected_quantity expected_qty total_quantity total_qty declared shipped_qty qty_shipped pieces pcs units count "
    "menge bestand anzahl",
    "delta": "change difference quantity_change qty_change change_qty movement_qty",
    "direction": "in_out inout movement_type movement transaction_type",
    "sku": "item sku_id item_id item_no item_number item_code article article_id article_no article_number "
    "article_code material material_number part part_number product product_id product_code "
    "artikel artikelnummer",
    "asin": "",
    "name": "item_name article_name product_name description item_description article_description title bezeichnung "
    "artikelbezeichnung",
    "gtin": "ean upc gtin13 gtin14 gtin_13 gtin_14 ean13 ean_13",
    "height": "height_in",
    "length": "length_in",
    "width": "width_in",
    "weight": "weight_lb weight_lbs",
    "value": "unit_value unit_cost unit_price cost price",
    "reference": "ref order order_no order_number document document_no transaction_id",
    "reason": "reason_code why note comment",
    "at": "time timestamp date datetime date_time snapshot snapshot_time as_of moved_at",
    "sscc": "sscc18 sscc_18 sscc_no",
    "consignment": "consignment_id shipment shipment_id delivery delivery_id delivery_note asn asn_id",
    "source": "",
    "key": "",
}
"""Every column by its own name, and what other systems call it; read without case, and blanks, ``-``, ``.`` and ``/``
as ``_``. A column's own name goes before the others."""

TOTES = f"{COLUMNS['bin']} tote tote_id carton carton_id container container_id case_id handling_unit hu lpn"
"""What a consignment's table may call its bins."""

_WORDS = {"name", "reason"}
"""Of these the first that is there is taken; of the others two in one table are refused."""

_WHOLE = re.compile(r"([+-]?\d{1,9})(?:[.,]0{1,2})?", re.ASCII)
_NUMBER = re.compile(r"\d{1,12}(?:\.\d*|,(?:\d{1,2}|\d{4,}))?|0,\d{3}|\.\d+|\d(?:\.\d+)?e[+-]?\d{1,3}", re.ASCII)
_INWARD = {"in": 1, "inbound": 1, "put": 1, "putaway": 1, "receipt": 1, "receive": 1, "add": 1, "+": 1,
           "out": -1, "outbound": -1, "pick": -1, "issue": -1, "ship": -1, "remove": -1, "-": -1}  # fmt: skip


def named(rows: Iterable[Line], columns: Mapping[str, str], needed: Sequence[Sequence[str]], source: str) -> list[Line]:
    """The rows with their cells by the columns' own names; other columns are left out.

    ``columns``: other names by own name. ``needed``: of each of these at least one must be there. Raises InputError
    where none is, or where a table has two of one column.
    """
    lines = list(rows)
    found = {name: _squeezed(name) for name in dict.fromkeys(name for _, row in lines for name in row)}
    by_name: dict[str, str] = {}
    for column, others in columns.items():
        chosen = [name for name, squeezed in found.items() if squeezed == column]
        for other in () if chosen else others.split():
            chosen += [name for name, squeezed in found.items() if squeezed == other]
        if len(chosen) > 1 and column not in _WORDS:
            raise InputError(f"{source} names the {column} twice", f"in its columns {' and '.join(chosen)}",
                             f"call the right one {column}")  # fmt: skip
        by_name |= dict.fromkeys(chosen[:1], column)
    for one_of in needed:
        if lines and not set(one_of) & set(by_name.values()):
            why = f"its columns are {', '.join(found)[:200] or 'none'}"
            raise InputError(f"{source} names no {' or '.join(one_of)}", why, f"call one of its columns {one_of[0]}")
    return [(line, {by_name[name]: cell for name, cell in row.items() if name in by_name}) for line, row in lines]


def _squeezed(name: str) -> str:
    return re.sub(r"[\s_\-./#]+", "_", name.strip().lower()).strip("_")


def needed(value: T | None, column: str) -> T:
    """A value that must be there. Raises RecordError where it is not."""
    if value is None:
        raise RecordError(f"The {column} is missing", "its cell is empty", f"fill in the {column}")
    return value


def text(row: Row, column: str) -> str | None:
    """A cell as text without the blanks around it; None where there is none. Whole numbers keep their digits."""
    cell = row.get(column)
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return None if cell is None else str(cell).strip() or None


def identity(row: Row, column: str) -> str | None:
    """What an article, reference or consignment is called: at most 200 printable characters, NFC.

    None where there is none. Raises RecordError.
    """
    found = unicodedata.normalize("NFC", text(row, column) or "") or None
    if found and (len(found) > 200 or not found.isprintable()):
        why = f"it has {len(found)} characters" if len(found) > 200 else "it holds signs that do not print"
        raise RecordError(f"The {column} {found[:40]!r} cannot be used", why, "200 printable characters at most")
    return found


def bin_name(row: Row, column: str) -> str | None:
    """The name of a bin or tote, as ``intake.bin_name`` has it; None where there is none. Raises RecordError."""
    found = text(row, column)
    if found is None:
        return None
    name = intake.bin_name(found)
    if name is None:
        long = len(found) > intake.LONGEST_BIN
        why = f"it has {len(found)} characters" if long else "it holds signs that do not print"
        raise RecordError(f"The {column} {found[:40]!r} cannot be used", why,
                          f"{intake.LONGEST_BIN} printable characters at most")  # fmt: skip
    return name


def whole(row: Row, column: str, lowest: int = 0) -> int | None:
    """A whole number from ``lowest`` to 100,000; None where there is none. Raises RecordError."""
    cell = row.get(column)
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    number: int | None = None
    if isinstance(cell, str):
        found = _WHOLE.fullmatch(cell.strip())
        number = int(found[1]) if found else None
    elif not isinstance(cell, bool) and (isinstance(cell, int) or cell.is_integer()):
        number = int(cell)
    if number is None or not lowest <= number <= MOST:
        why = f"no whole number from {lowest:,} to {MOST:,}"
        raise RecordError(f"The {column} {str(cell)[:40]!r} cannot be used", f"it is {why}",
                          "write its digits alone, as in 1200")  # fmt: skip
    return number


def measure(row: Row, column: str) -> float | None:
    """A number from 0 to 1,000,000,000; None where there is none. Raises RecordError."""
    cell = row.get(column)
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    number: int | float = -1
    if isinstance(cell, str):
        if _NUMBER.fullmatch(cell.strip().lower()):
            number = float(cell.strip().replace(",", "."))
    elif not isinstance(cell, bool):
        number = cell
    if not 0 <= number <= MOST_MEASURE:
        raise RecordError(f"The {column} {str(cell)[:40]!r} cannot be used",
                          f"it is no number from 0 to {MOST_MEASURE:,}", "write it as in 12.5")  # fmt: skip
    return float(number)


def possible(at: datetime, now: datetime) -> bool:
    """Whether something told by ``now`` can have been true then."""
    return intake.EARLIEST <= at <= now + intake.FUTURE


def moment(row: Row, column: str, now: datetime, clock: tzinfo | None) -> datetime | None:
    """A time of ISO 8601 in UTC; None where there is none. ``clock``: the zone of one that names none (None: this
    machine's).

    Raises RecordError, also for a time before 1990 or more than a day after ``now``.
    """
    cell = row.get(column)
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        if not isinstance(cell, str):
            raise ValueError
        at = datetime.fromisoformat(cell.strip())
        at = (at.replace(tzinfo=clock) if clock and at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise RecordError(f"The time {str(cell)[:40]!r} cannot be used", "it is not ISO 8601",
                          "write it as in 2026-11-30T08:15:00+01:00") from None  # fmt: skip
    if not possible(at, now):
        why = "it is more than a day ahead" if at > now else f"it is before {intake.EARLIEST:%Y}"
        raise RecordError(f"The time {cell[:40]!r} cannot be", why, "write when it was so")
    return at


def code(row: Row, column: str) -> str | None:
    """A GTIN or SSCC whose check digit is right; None where there is none. Raises RecordError."""
    found = text(row, column)
    if found is None:
        return None
    return gs1.sscc(found) if column == "sscc" else gs1.gtin(found)


def sign(row: Row) -> int:
    """1 where a row's direction is into the bin, -1 where it is out of it. Raises RecordError."""
    found = text(row, "direction") or ""
    direction = _INWARD.get(found.lower())
    if direction is None:
        raise RecordError(f"The direction {found[:40]!r} cannot be used", "it is neither in nor out",
                          "write in or out")  # fmt: skip
    return direction
