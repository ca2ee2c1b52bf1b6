"""The book's tables, and how an entry and a bin's state stand in their rows.

``entries`` is append-only: triggers refuse to change or remove a row. ``states`` and ``bins`` are a projection of it,
written in the same transaction, a row a bin in each: the state whole, and apart from it, so that it is soon read
through, what views sort and filter by.
Times are whole microseconds since 1970 in UTC, so that both databases keep and order them alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, Table, Text

from binventory.book.entries import KINDS, Body, Entry
from binventory.book.timeline import State
from binventory.errors import RecordError

REVISIONS = ("0001", "0002")
"""The migrations, oldest first. A book stands at one of them."""
VERSIONS = "book_version"
"""The table that says at which."""

_BIG = BigInteger().with_variant(Integer, "sqlite")  # in SQLite only this is the row's own number
_NAME = Text().with_variant(Text(collation="C"), "postgresql")  # both databases order names by their bytes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 200

metadata = MetaData()

entries = Table(
    "entries",
    metadata,
    Column("seq", _BIG, primary_key=True, autoincrement=False),
    Column("key", _NAME, nullable=False, unique=True),
    Column("kind", _NAME, nullable=False),
    Column("bin", _NAME),
    Column("at", _BIG, nullable=False),
    Column("entered", _BIG, nullable=False),
    Column("who", _NAME, nullable=False),
    Column("consignment", _NAME),
    Column("body", Text, nullable=False),
    Index("entries_of_bin", "bin", "at", "seq"),
    Index("entries_of_kind", "kind", "seq"),
    Index("entries_of_consignment", "consignment", "seq"),
)

states = Table(
    "states",
    metadata,
    Column("bin", _NAME, primary_key=True),
    Column("state", Text, nullable=False),
)

bins = Table(
    "bins",
    metadata,
    Column("bin", _NAME, primary_key=True),
    Column("quantity", _BIG),
    Column("value", Float),
    Column("movements", Integer, nullable=False),
    Column("counted", _BIG),
    Column("p_right", Float),
    Column("passes", Integer),
    Column("worth", Float),
    Column("stale", Integer, nullable=False),
    Column("policy", Text),
    Column("open", Integer, nullable=False),
    Column("recounted", _BIG),
    Column("variance", _BIG),
    Column("outstanding", _BIG),
    Column("adjustments", Integer, nullable=False),
    Column("lines", Integer),
    Column("lines_right", Integer),
    Index("bins_open", "open", "worth"),
)


def micros(at: datetime) -> int:
    """A time as it stands in a row."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def when(micros: int) -> datetime:
    """The time in a row."""
    return _EPOCH + timedelta(microseconds=micros)


@dataclass(frozen=True, slots=True)
class Fair:
    """An entry that may be entered, its body as it will be read again and as JSON."""

    entry: Entry
    body: Body
    json: str

    def same(self, there: Entry) -> bool:
        """Whether an entry of this key says what this one does. Who sent it, and when, does not matter."""
        mine = self.entry
        return (there.kind, there.bin, there.at, there.consignment) == (
            mine.kind, mine.bin, mine.at, mine.consignment,
        ) and there.body == self.body  # fmt: skip

    def row(self, seq: int, entered: datetime) -> dict[str, object]:
        """The row of ``entries``."""
        one = self.entry
        return {
            "seq": seq, "key": one.key, "kind": one.kind, "bin": one.bin, "at": micros(one.at),
            "entered": micros(entered), "who": one.who, "consignment": one.consignment, "body": self.json,
        }  # fmt: skip


def fair(entry: Entry) -> Fair:
    """An entry checked field by field, the limits that its body's types declare included.

    Raises RecordError naming the key and what is wrong.
    """
    for name, text in (("key", entry.key), ("bin", entry.bin), ("who", entry.who), ("consignment", entry.consignment)):
        if text is not None and not (0 < len(text) <= _LONGEST and text.isprintable()):
            raise RecordError(f"An entry's {name} cannot be entered", f"it reads {text[:60]!r}",
                              f"give 1 to {_LONGEST} printable characters")  # fmt: skip
    try:
        written = msgspec.json.encode(entry.body)
        return Fair(entry, _body(entry.kind, written), written.decode())
    except (ValueError, KeyError, TypeError) as error:  # msgspec's own are ValueErrors
        raise RecordError(f"The entry {entry.key} cannot be entered", str(error), "correct it at its source") from None


def entry_of(row: Sequence[Any]) -> Entry:
    """The entry of a row, whole. Raises RecordError where its body is not one of its kind."""
    seq, key, kind, bin, at, entered, who, consignment, written = row
    try:
        body = _body(kind, written)
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"The entry {key} cannot be read", str(error), "binventory book check") from None
    return Entry(key, bin, when(at), who, body, consignment, seq, when(entered))


def _body(kind: str, written: str | bytes) -> Body:
    body: Body = msgspec.json.decode(written, type=KINDS[kind])
    return body


def bin_row(bin: str, state: State) -> dict[str, object]:
    """The row of ``bins`` that a state makes."""
    record, found, standing = state.record, state.recount, state.standing
    lines = found.line_variances if found else ()
    return {
        "bin": bin,
        "quantity": None if record is None else record.quantity,
        "value": state.value,
        "movements": state.movements,
        "counted": micros(state.count.at) if state.count else None,
        "p_right": standing.p_right if standing else None,
        "passes": int(standing.verdict == "match") if standing else None,
        "worth": standing.worth if standing else None,
        "stale": int(state.stale),
        "policy": state.verdict.policy if state.verdict else None,
        "open": int(state.open),
        "recounted": micros(found.at) if found else None,
        "variance": found.variance if found else None,
        "outstanding": found.outstanding if found else None,
        "adjustments": found.adjustments if found else 0,
        "lines": len(lines) if lines else None,
        "lines_right": sum(not delta for _, delta in lines) if lines else None,
    }


def state_row(bin: str, state: State) -> dict[str, object]:
    """The row of ``states``."""
    return {"bin": bin, "state": msgspec.json.encode(state).decode()}


def state_of(written: str) -> State:
    """The state in a row of ``states``."""
    return msgspec.json.decode(written, type=State)
