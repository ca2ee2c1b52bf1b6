"""A consignment as the book sees it: what was declared, what is known of each tote, and what may leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from binventory.book.entries import Bundled, Counted, Declared, Entry, Recounted
from binventory.book.exchange.discrepancies import Discrepancy, discrepancies
from binventory.book.store import Ledger
from binventory.deciding.consignment import Release, Tote, consign
from binventory.deciding.policy import Policy
from binventory.deciding.rule import Rule
from binventory.deciding.verify import verify
from binventory.errors import MissingError
from binventory.records import BinRecord, Verdict


@dataclass(frozen=True, slots=True)
class Consigned:
    """A consignment and what may leave. ``verdicts``: by bin, where a photo was counted; ``discrepancies``: where a
    person found something else than was declared."""

    name: str
    totes: tuple[Tote, ...]
    release: Release
    verdicts: Mapping[str, Verdict]
    discrepancies: tuple[Discrepancy, ...]

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


def weighed(ledger: Ledger, name: str, policy: Policy, max_wrong: float) -> Consigned:
    """What of a consignment may leave, at most ``max_wrong`` (0..1) of it wrong.

    A tote is known by what was found in it since the consignment before that used it, and before the next one does: a
    person's recount at it, else its latest photo, held against what is declared now. Photos of totes that share an
    article depend on each other, as those of a run do; of totes without lines nothing is known, so they all do.

    Raises MissingError where the book has no such consignment.
    """
    declared = latest(ledger.entries(consignment=name, kinds=("consignment",)))
    if not declared:
        raise MissingError(
            f"There is no consignment {name}", "the book has none of that name", "binventory consign FILE"
        )
    rules = {one.body.digest: one.body for one in ledger.entries(kinds=("bundle",)) if isinstance(one.body, Bundled)}
    runs = together({bin: one.items for bin, (_, one) in declared.items()})
    unseen = 1 - (policy.assumed_rate if policy.wrong_rate is None else policy.wrong_rate)
    totes: list[Tote] = []
    verdicts: dict[str, Verdict] = {}
    found: dict[str, int] = {}
    for bin, (entry, body) in declared.items():
        counted, recounted = _seen(ledger, bin, name, entry.at)
        verdict = None
        if counted is not None:
            bundle = rules.get(counted.bundle)
            rule = Rule.from_bytes(bundle.rule.encode()) if bundle and bundle.rule else None
            verdict = verdicts[bin] = verify(counted.count, BinRecord(body.quantity, body.items), policy, rule)
        if recounted is not None:
            found[bin] = recounted.quantity
        totes.append(
            Tote(
                bin=bin,
                expected=body.quantity,
                p_right=unseen if verdict is None else verdict.p_right,
                passes=verdict is not None and verdict.passes,
                recounted=None if recounted is None else recounted.quantity == body.quantity,
                minutes=policy.minutes(body.quantity),
                run=runs[bin],
            )
        )
    dependence = max((Rule.from_bytes(one.rule.encode()).dependence for one in rules.values() if one.rule), default=0.0)
    stray = _not_advised(ledger, name, declared)
    told = discrepancies([entry for entry, _ in declared.values()], found | stray)
    return Consigned(name, tuple(totes), consign(totes, max_wrong, dependence), verdicts, tuple(told))


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


def _seen(ledger: Ledger, bin: str, name: str, at: datetime) -> tuple[Counted | None, Recounted | None]:
    """The latest count of a tote and the latest recount at it, between the consignments before and after this one."""
    others = [
        one.at for one in ledger.entries(bin=bin, kinds=("consignment",)) if one.consignment != name
    ]  # fmt: skip
    since = max((one for one in others if one < at), default=None)
    until = min((one for one in others if one > at), default=None)
    counted: tuple[datetime, Counted] | None = None
    recounted: tuple[datetime, Recounted] | None = None
    for entry in ledger.entries(bin=bin, kinds=("count", "recount")):
        if (since and entry.at <= since) or (until and entry.at > until):
            continue
        match entry.body:
            case Counted() as body if counted is None or entry.at >= counted[0]:
                counted = entry.at, body
            case Recounted(where="bin") as body if recounted is None or entry.at >= recounted[0]:
                recounted = entry.at, body
    return counted and counted[1], recounted and recounted[1]


def _not_advised(ledger: Ledger, name: str, declared: Mapping[str, object]) -> dict[str, int]:
    """What was recounted for this consignment and is not in it."""
    return {
        one.bin: one.body.quantity
        for one in ledger.entries(consignment=name, kinds=("recount",))
        if isinstance(one.body, Recounted) and one.bin is not None and one.bin not in declared
    }
