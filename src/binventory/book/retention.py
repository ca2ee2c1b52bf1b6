"""Photos that are let go once they are as old as the policy says, and the book says so; counts and verdicts stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from binventory.book import engines
from binventory.book.entries import Entry, Forgotten, Pictured, keyed
from binventory.book.schema import bins, entries, entry_of
from binventory.book.store import Ledger, Writing
from binventory.deciding.policy import Policy
from binventory.flow import Track, chunks, untracked

_TOGETHER = 100
"""Photos that are let go while others wait to write."""


@dataclass(slots=True)
class Shown:
    """A photo that entries name: as of when at the latest, in which bins, how often it was let go, and whether it has
    not been kept anew since."""

    at: datetime
    bins: set[str] = field(default_factory=set)
    times: int = 0
    gone: bool = False


def show(shown: dict[str, Shown], entry: Entry) -> None:
    """Remember a photo that an entry names, or that it has been let go; entries come in order."""
    if isinstance(entry.body, Pictured):
        one = shown.setdefault(entry.body.sha256, Shown(entry.at))
        one.at, one.gone = max(one.at, entry.at), False
        one.bins.add(entry.bin or "")
    elif isinstance(entry.body, Forgotten) and entry.body.sha256 in shown:
        shown[entry.body.sha256].times += 1
        shown[entry.body.sha256].gone = True


def retain(ledger: Ledger, policy: Policy, now: datetime, *, track: Track = untracked) -> int:
    """Remove photos older than the policy keeps them, but for those of bins that wait for a recount; how many.

    Their counts and verdicts stay. That a photo goes is entered first, so that none is missed; it goes while nobody
    writes, so that one that comes again meanwhile stays.
    """
    if policy.keep_photos_days is None:
        return 0
    before = now - timedelta(days=policy.keep_photos_days)
    why = f"older than {policy.keep_photos_days:g} days"
    shown: dict[str, Shown] = {}
    with ledger.reading() as connection:
        place = _looked(connection, shown, 0)
    old = [sha256 for sha256, one in shown.items() if not one.gone and one.at < before]
    for some in chunks(old, _TOGETHER):
        with engines.told(ledger.name), engines.writing(ledger.engine) as connection:
            place = _looked(connection, shown, place)
            going = [(one, shown[one]) for one in _without_waiting(connection, shown, some)]
            Writing(connection).append(*(
                Entry(keyed("retention", sha256, one.times), None, now, "retention", Forgotten(sha256, why))
                for sha256, one in going if not one.gone and one.at < before
            ))  # fmt: skip
            place = _looked(connection, shown, place)
    removed = 0
    # Also what was to go before, had its removal not been interrupted.
    gone = [one for one in ledger.photos.all() if one in shown and shown[one].gone]
    for some in chunks(track(gone, "photos", len(gone)), _TOGETHER):
        with engines.told(ledger.name), engines.writing(ledger.engine) as connection:
            place = _looked(connection, shown, place)
            for one in _without_waiting(connection, shown, [one for one in some if shown[one].gone]):
                ledger.photos.forget(one)
                removed += 1
    return removed


def _looked(connection: Connection, shown: dict[str, Shown], after: int) -> int:
    """Remember what entries from behind a place tell of photos; the place of the last."""
    wanted = select(entries).where(entries.c.kind.in_(("photo", "retention")), entries.c.seq > after)
    with connection.execute(wanted.order_by(entries.c.seq).execution_options(yield_per=1000)) as rows:
        for row in rows:
            show(shown, entry_of(row))
            after = row.seq
    return after


def _without_waiting(connection: Connection, shown: Mapping[str, Shown], photos: Sequence[str]) -> list[str]:
    """Those of the photos that show no bin that waits for a recount."""
    names = {bin for one in photos for bin in shown[one].bins}
    waiting = set(connection.scalars(select(bins.c.bin).where(bins.c.open == 1, bins.c.bin.in_(names))))
    return [one for one in photos if not shown[one].bins & waiting]
