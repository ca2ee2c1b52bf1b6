"""A consignment as the book sees it: what was declared, what is known of each tote, and what may leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from binventory.book import acts
from binventory.book.entries import Bundled, Counted, Declared, Entry, Expected, Judged, Moved, Recounted, keyed
from binventory.book.exchange.discrepancies import Discrepancy, discrepancies
from binventory.book.store import Ledger
from binventory.book.timeline import folded
from binventory.deciding.consignment import Release, Tote, consign
from binventory.deciding.policy import Policy
from binventory.deciding.rule import Rule
from binventory.errors import MissingError
from binventory.records import BinRecord, Verdict

_TELLING = ("consignment", "count", "verdict", "recount", "movement", "expectation", "adjustment")
"""The kinds of entry that tell what is in a tote."""


@dataclass(frozen=True, slots=True)
class Consigned:
    """A consignment and what may leave. ``verdicts``: by bin, where a photo was counted; ``discrepancies``: where a
    person found something else than was declared, at ``found_at`` the latest (None: nobody has recounted)."""

    name: str
    totes: tuple[Tote, ...]
    release: Release
    verdicts: Mapping[str, Verdict]
    discrepancies: tuple[Discrepancy, ...]
    found_at: datetime | None

    def as_row(self) -> dict[str, object]:
        """The consignment as one JSON object; ``recount`` stands in order."""
        found = self.release
        return {
            "consignment": self.name,
            "p_all_right": round(found.p_all_right, 6),
            "release": list(found.release),
            "recount": list(found.recount),
            "wrong": list(found.wrong),
            "minutes": round(found.minutes, 1),
            "wrong_share": round(found.wrong_share, 6),
            "wrong_at_most": round(found.wrong_at_most, 6),
        }


@dataclass(frozen=True, slots=True)
class _Known:
    """What the book knows of a tote in a consignment: its latest count and the latest recount at it, and what was moved
    between each and the declaration, in items."""

    count: Entry | None
    recount: Entry | None
    moved_since_count: int
    moved_since_recount: int


def weighed(ledger: Ledger, name: str, policy: Policy, max_wrong: float, who: str) -> Consigned:
    """What of a consignment may leave, at most ``max_wrong`` (0..1) of it wrong. Verdicts that are new are entered.

    A tote is known by what was found in it while it is this consignment's: a person's recount at it, else its latest
    photo, held against what is declared; a photo that says otherwise after a recount asks for another. Photos of totes
    that share an article depend on each other, as those of a run do; of totes without lines nothing is known, so they
    all do.

    Raises MissingError where the book has no such consignment.
    """
    declared = latest(ledger.entries(consignment=name, kinds=("consignment",)))
    if not declared:
        raise MissingError(f"Consignment {name} does not exist", "the book has none such", "binventory consign FILE")
    bundles = (one.body for one in ledger.entries(kinds=("bundle",)))
    rules = {one.digest: Rule.from_bytes(one.rule.encode()) for one in bundles if isinstance(one, Bundled) and one.rule}
    runs = together({bin: one.items for bin, (_, one) in declared.items()})
    totes: list[Tote] = []
    verdicts: dict[str, Verdict] = {}
    strays = _not_advised(ledger, name, declared)
    found = {one.bin or "": body.quantity for one, body in strays}
    found_at = [one.at for one, _ in strays]
    stories = ledger.stories(list(declared), _TELLING)
    for bin, (entry, body) in declared.items():
        known = _known(stories[bin], name, entry.at)
        verdict = _verdict(known, body, policy, rules)
        if verdict is not None:
            verdicts[bin] = verdict
        recounted = _recounted(known, verdict)
        if recounted is not None and known.recount is not None:
            found[bin] = recounted
            found_at.append(known.recount.at)
        totes.append(_tote(bin, body, verdict, recounted, policy, runs[bin]))
        if verdict is not None and known.count is not None:
            _enter(ledger, stories[bin], known.count, name, verdict, who)
    dependence = max((rule.dependence for rule in rules.values()), default=0.0)
    told = discrepancies([entry for entry, _ in declared.values()], found)
    release = consign(totes, max_wrong, dependence)
    return Consigned(name, tuple(totes), release, verdicts, tuple(told), max(found_at, default=None))


def latest(entries: Iterable[Entry]) -> dict[str, tuple[Entry, Declared]]:
    """What a consignment says of each tote: the latest declaration, in the order of the first ones."""
    found: dict[str, tuple[Entry, Declared]] = {}
    for entry in entries:
        if isinstance(entry.body, Declared) and entry.bin is not None:
            found[entry.bin] = (entry, entry.body)
    return found


def together(items: Mapping[str, Sequence[object]]) -> dict[str, str]:
    """For each bin the name of the run that it belongs to: bins that share a SKU, directly or by way of others, are of
    one; those without lines are of one, too."""
    parent = {bin: bin for bin in items}

    def root(bin: str) -> str:
        while parent[bin] != bin:
            parent[bin] = parent[parent[bin]]
            bin = parent[bin]
        return bin

    first: dict[str, str] = {}
    for bin, lines in items.items():
        for sku in [getattr(line, "sku", "") for line in lines] or [""]:
            parent[root(bin)] = root(first.setdefault(sku, bin))
    return {bin: root(bin) for bin in items}


def _known(entries: Sequence[Entry], name: str, declared: datetime) -> _Known:
    """What was found in a tote while it is this consignment's, by its entries in their order.

    What names a consignment is that one's. What names none counts until the next consignment declares the tote; and
    where one did so before, not before this one does, since what was found in between may be of either. Where two
    declare it at the same time, only what names one of them counts.
    """
    begin = min(one.at for one in entries if isinstance(one.body, Declared) and one.consignment == name)
    others = [one.at for one in entries if isinstance(one.body, Declared) and one.consignment != name]
    after = begin if any(one <= begin for one in others) else None
    end = min((one for one in others if one >= begin), default=None)

    def ours(one: Entry) -> bool:
        if one.consignment is not None:
            return one.consignment == name
        return (after is None or one.at >= after) and (end is None or one.at < end)

    counts = [one for one in entries if isinstance(one.body, Counted) and ours(one)]
    recounts = [one for one in entries if isinstance(one.body, Recounted) and one.body.where == "bin" and ours(one)]
    count, recount = (some[-1] if some and _holds(some[-1], entries, declared) else None for some in (counts, recounts))
    return _Known(count, recount, *(_moved(entries, one, declared) for one in (count, recount)))


def _moved(entries: Sequence[Entry], since: Entry | None, until: datetime) -> int:
    """The movements behind an entry, up to a time, in items."""
    if since is None:
        return 0
    later = (one for one in entries if (one.at, one.seq or 0) > (since.at, since.seq or 0) and one.at <= until)
    return sum(one.body.delta for one in later if isinstance(one.body, Moved))


def _holds(found: Entry, entries: Sequence[Entry], declared: datetime) -> bool:
    """Whether what was found in a bin still is when it is declared: no record set since then says that something
    happened which nobody entered as a movement."""
    later = [one for one in entries if isinstance(one.body, Expected) and found.at < one.at <= declared]
    if not later:
        return True
    last = later[-1]
    assert isinstance(last.body, Expected)
    if isinstance(found.body, Recounted):
        then: int | None = found.body.quantity
    else:
        before = folded(one for one in entries if (one.at, one.seq or 0) <= (found.at, found.seq or 0))
        then = before.quantity
    return then is None or last.body.quantity == then + _moved(entries, found, last.at)


def _verdict(known: _Known, body: Declared, policy: Policy, rules: Mapping[str, Rule]) -> Verdict | None:
    """The verdict on what is declared, less what was moved since the photo; None without a photo."""
    if known.count is None or not isinstance(known.count.body, Counted):
        return None
    counted, quantity = known.count.body, body.quantity - known.moved_since_count
    record = BinRecord(quantity, () if known.moved_since_count else body.items)
    return acts.weighed(counted.count, record, policy, rules.get(counted.bundle))


def _recounted(known: _Known, verdict: Verdict | None) -> int | None:
    """What is in a tote by the recount at it, and what was moved since; None without one, or where a later photo says
    otherwise."""
    if known.recount is None or not isinstance(known.recount.body, Recounted):
        return None
    later = known.count is not None and known.count.at > known.recount.at
    if later and verdict is not None and verdict.verdict in ("short", "over"):
        return None
    return known.recount.body.quantity + known.moved_since_recount


def _tote(
    bin: str, body: Declared, verdict: Verdict | None, recounted: int | None, policy: Policy, run: str
) -> Tote:  # fmt: skip
    told = None if verdict is None else verdict.p_right
    unseen = 1 - (policy.assumed_rate if policy.wrong_rate is None else policy.wrong_rate)
    right = None if recounted is None else recounted == body.quantity
    passes = verdict is not None and verdict.passes
    minutes = policy.minutes(body.quantity)
    return Tote(bin, body.quantity, unseen if told is None else told, passes, right, minutes, run)


def _enter(ledger: Ledger, story: Sequence[Entry], count: Entry, name: str, verdict: Verdict, who: str) -> None:
    """Enter a verdict on a count for a consignment, unless it is the one that stands."""
    told = Judged(count.key, verdict.verdict, verdict.p_right, verdict.expected, verdict.count, verdict.interval,
                  verdict.reason, verdict.change, verdict.bound, verdict.worth)  # fmt: skip
    bin = count.bin or ""
    before = [(one.seq or 0, one.body) for one in story if isinstance(one.body, Judged) and one.consignment == name]
    if before and max(before, key=lambda one: one[0])[1] == told:
        return
    with ledger.writing() as writing:
        ours = (one for one in writing.timeline(bin) if one.consignment == name)
        given = [(one.seq or 0, one.body) for one in ours if isinstance(one.body, Judged) and one.body.of == count.key]
        if not given or max(given, key=lambda one: one[0])[1] != told:
            writing.append(Entry(keyed("verdict", count.key, name, len(given)), bin, count.at, who, told, name))


def _not_advised(ledger: Ledger, name: str, declared: Mapping[str, object]) -> list[tuple[Entry, Recounted]]:
    """The recounts that were made for this consignment at what is not in it."""
    return [
        (one, one.body)
        for one in ledger.entries(consignment=name, kinds=("recount",))
        if isinstance(one.body, Recounted) and one.body.where == "bin" and one.bin and one.bin not in declared
    ]
