"""What to know of data before learning from them: plain sentences, made from the numbers of an exploration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from binventory.data.explore import Exploration
from binventory.data.traits import Mix
from binventory.photo import COMMON_SIDE
from binventory.records import TAIL, TOP, shown

FEW = 50
"""Photos of one count below which it is called rare."""

_APART = 0.05
_WEAK = 0.3


@dataclass(frozen=True, slots=True)
class Trap:
    """One thing to know: its name, what it is and what to do, and the section of the page that shows it."""

    name: str
    text: str
    section: str


def traps(found: Exploration) -> tuple[Trap, ...]:
    """Everything that stands out, the gravest first; empty where nothing does."""
    return tuple(
        trap
        for look in (
            _no_counts,
            _twins,
            _mix,
            _places,
            _copies,
            _records,
            _rejects,
            _uncounted,
            _tail,
            _volume,
            _small,
            _lone,
        )
        for trap in look(found)
    )


def _no_counts(found: Exploration) -> Iterator[Trap]:
    if found.photos and not found.labelled:
        yield Trap("No counts", "No photo has a count: they can be counted, but nothing can be learnt from them or "
                   "judged on them. A labels.csv with the header id,count is enough.", "counts")  # fmt: skip


def _uncounted(found: Exploration) -> Iterator[Trap]:
    without = found.photos - found.labelled
    if found.labelled and without:
        yield Trap("Photos without a count", f"{without:,} of {found.photos:,}: they can be counted, but not learnt "
                   "from.", "counts")  # fmt: skip


def _twins(found: Exploration) -> Iterator[Trap]:
    if not found.in_runs:
        return
    random, by_runs = found.leaks.random, found.leaks.by_runs
    things = "photos" if found.photos else "records"
    twins = share(found.in_runs, found.photos or found.unpictured)
    text = (
        f"{twins} of the {things} have a twin: another one of the same bin, mostly from before or after something "
        "went in or out."
    )
    if random.test:
        text += (
            f" A random split would put a twin of {random.twins:,} of its {random.test:,} test {things} "
            f"({share(random.twins, random.test)}) into train, and judge what was learnt by heart. "
            f"A split by runs, as split and train make it, puts {by_runs.twins or 'none'} there."
        )
    yield Trap("Twins", text, "leak")


def _mix(found: Exploration) -> Iterator[Trap]:
    if found.mix and found.mix.distance >= _APART:
        more, less = apart(found.mix, found.reference)
        yield Trap(
            "Another mix of counts",
            f"{100 * found.mix.distance:.0f} % of the bins would need another count for the mix to be that of bins "
            f"that nobody has picked. Most too often: {more}; most too seldom: {less}. What learns from it expects it, "
            "too: count with --prior reference, judge with --balanced.",
            "counts",
        )


def apart(mix: Mix, reference: tuple[float, ...]) -> tuple[str, str]:
    """The count that a mix has most too often against the reference, and most too seldom, in words."""
    gaps = [own - usual for own, usual in zip(mix.shares, reference, strict=True)]

    def told(count: int) -> str:
        return f"{shown(count)} ({100 * mix.shares[count]:.1f} % against {100 * reference[count]:.1f} %)"

    return told(gaps.index(max(gaps))), told(gaps.index(min(gaps)))


def _places(found: Exploration) -> Iterator[Trap]:
    mixes = [place.mix for place in found.places if place.mix]
    sizes = {(place.width, place.height) for place in found.places}
    if len(found.places) > 1 and (len(sizes) > 1 or any(mix.distance >= _APART for mix in mixes)):
        told = "; ".join(
            f"{PurePosixPath(place.address).name}: {place.width} × {place.height} px"
            + (f", {place.mix.mean:.1f} items on average" if place.mix else "")
            for place in found.places[:4]
        )
        yield Trap("Sources differ", f"{told}{' …' if found.places[4:] else ''}. A model may learn a source's look "
                   "in place of its items: judge each by itself, too.", "counts")  # fmt: skip


def _copies(found: Exploration) -> Iterator[Trap]:
    pairs = sum(found.copies.by_why.values())
    if pairs:
        contrary = sum(found.copies.steps[1:])
        text = f"Pairs of photos that look almost the same: {pairs:,}. They stand on one side of a split."
        if contrary:
            text += f" Counts differ in {contrary:,} of them: a record is wrong, or what changed is hard to see."
        yield Trap("Near-duplicates", text, "copies")


def _records(found: Exploration) -> Iterator[Trap]:
    if found.flagged:
        told = ", ".join(f"{flag} ({n:,})" for flag, n in list(found.flags.items())[:3])
        yield Trap("Odd records", f"{found.flagged:,} of {found.records:,}: {told}. Counts come from "
                   "records, which err, too: no model can be right everywhere.", "records")  # fmt: skip


def _rejects(found: Exploration) -> Iterator[Trap]:
    if found.rejects:
        most = found.refusals[0]
        yield Trap("Refused", f"Files or ids left out: {found.rejects:,}. The commonest reason, {most.number:,} "
                   f"times: “{most.kind}”.", "refused")  # fmt: skip


def _tail(found: Exploration) -> Iterator[Trap]:
    if not found.mix:
        return
    rare = [count for count in range(TAIL) if 0 < found.mix.tally[count] < FEW]
    many = found.mix.tally[TAIL]
    things = found.counted
    text = ""
    if many:
        largest = f"{found.mix.largest:,}"
        text += f"{things.capitalize()} of more than {TOP} items: {many:,}, with up to {largest}. They are one class. "
    if rare:
        text += f"Fewer than {FEW} {things} each have the counts {_listed(rare)}: figures for these say little."
    if text:
        yield Trap("Few bins of many items" if many else "Rare counts", text.strip(), "counts")


def _volume(found: Exploration) -> Iterator[Trap]:
    if found.volumes and found.volumes.correlation is not None and abs(found.volumes.correlation) < _WEAK:
        rho = f"{found.volumes.correlation:.2f}".replace("-", "−")
        yield Trap("A full bin is not a bin of many", "The volume of a bin's items says little of their number: their "
                   f"rank correlation is {rho}. Many items are small ones.", "volume")  # fmt: skip


def _small(found: Exploration) -> Iterator[Trap]:
    if found.pictures and found.pictures.small:
        yield Trap("Small photos", f"{found.pictures.small:,} of {found.photos:,} are smaller than the {COMMON_SIDE} "
                   "px to which every photo is reduced: they show less than the others.", "photos")  # fmt: skip


def _lone(found: Exploration) -> Iterator[Trap]:
    if found.unpictured:
        yield Trap("Records without photos", f"{found.unpictured:,} of {found.records:,}. They have runs and sides, so "
                   "that photos can be chosen by them and fetched later.", "records")  # fmt: skip


def share(part: int, whole: int) -> str:
    """A share in whole per cent, with a decimal where it is nearly none or nearly all."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.1f} %" if 0 < percent < 1 or 99 < percent < 100 else f"{percent:.0f} %"


def _listed(counts: list[int]) -> str:
    """Counts in words, neighbours joined: ``0, 14 to 20``."""
    spans: list[list[int]] = []
    for count in counts:
        if spans and spans[-1][-1] == count - 1:
            spans[-1].append(count)
        else:
            spans.append([count])
    return ", ".join(f"{span[0]} to {span[-1]}" if len(span) > 2 else ", ".join(map(str, span)) for span in spans)
