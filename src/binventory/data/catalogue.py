"""The catalogue: every photo, record, run and side of one or more sources, in one DuckDB file of the work folder.

The data folders are only read. Photos already looked at are not opened again; sides, once given, stay.
"""

from __future__ import annotations

import hashlib
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import duckdb

from binventory import objects
from binventory.data import layout, links, looks, merge, shards, split, tables
from binventory.data.clean import Fact, Rejection
from binventory.data.layout import Reject, Source
from binventory.data.links import Link
from binventory.data.merge import Entry, Recorded
from binventory.data.shards import Line, Sample, Shards
from binventory.data.split import Placement
from binventory.errors import InputError, RecordError, UsageError
from binventory.flow import Track, untracked
from binventory.recipe import LinkRecipe, SplitRecipe
from binventory.records import Item


@dataclass(frozen=True, slots=True)
class Row:
    """One photo as learning meets it. ``count`` None: not labelled. ``side`` "": not split yet.

    ``address``, ``sha256`` and ``likeness`` are "" where only its record is there.
    """

    id: str
    address: str
    sha256: str
    likeness: str
    count: int | None
    run: str
    side: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a work folder holds, read: photos by id, the links between them, what was refused, and what to know.

    ``unpictured``: the ids that have a record and no photo. They have runs and sides as photos do, so that photos can
    be chosen by their records, and fetched later. ``cleaned``: the rules that leave an id out of learning.
    """

    work: Path
    rows: tuple[Row, ...]
    links: tuple[Link, ...]
    rejects: tuple[Reject, ...]
    notes: tuple[str, ...] = ()
    unpictured: tuple[Row, ...] = ()
    cleaned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def side(self, name: str) -> tuple[Row, ...]:
        """The labelled photos of a side."""
        return tuple(row for row in self.rows if row.side == name and row.count is not None)

    def to_learn(self, name: str) -> tuple[Row, ...]:
        """The labelled photos of a side that are not cleaned: what a bundle may learn from."""
        return tuple(row for row in self.side(name) if row.id not in self.cleaned)

    def left_out(self, name: str) -> tuple[tuple[Row, tuple[str, ...]], ...]:
        """The labelled photos of a side that are cleaned, each with the rules that reject it."""
        return tuple((row, self.cleaned[row.id]) for row in self.side(name) if row.id in self.cleaned)


def work_for(sources: Sequence[str]) -> Path:
    """The default work folder: in the user's cache, named by the resolved sources, whatever they hold."""
    from platformdirs import user_cache_path

    places = sorted(resolved(sources))
    key = hashlib.sha256("\n".join(places).encode()).hexdigest()[:12]
    return user_cache_path("binventory") / "work" / f"{Path(places[0]).name}-{key}"


def build(sources: Sequence[str], work: Path, recipe: LinkRecipe, track: Track = untracked) -> Catalogue:
    """Catalogue the sources into ``work``: list, look at new photos, merge, link. Safe to kill and run again.

    Raises InputError where a source is no folder or holds no photo, OutsideError where the disk or S3 fails.
    """
    sources = resolved(sources)
    packs = {one: pack for one in sources if (pack := shards.opened(one))}
    scanned = [packs[one].source() if one in packs else layout.scan(one) for one in sources]
    with tables.opened(work) as base:
        looked = looks.photos(base, [one for one in scanned if one.address not in packs], track)
        looked |= {place: look for pack in packs.values() for place, look in pack.looks().items()}
        reads = looks.records(base, scanned, track)
        records, record_rejects = merge.recorded(scanned, looked, reads)
        entries, rejects = merge.merge(scanned, looked, reads, records)
        settled = _settled(entries, packs)
        found = _link(base, entries, records, settled, recipe, track)
        # A shard's run may bear the name of a photo that is not there: its record was, when the sides were made.
        ids = dict.fromkeys([entry.id for entry in entries] + [id for id in records if not records[id].photo])
        told = [Link(one.run, id, "of one run, as their shards say") for id, (_, one) in settled.items()]
        run_of = links.runs(ids | dict.fromkeys(link.one for link in told), [*found, *told])
        base.begin()
        _take_over(base, packs, settled)
        tables.replace(base, "photos", entries)
        tables.replace(base, "records", records.values())
        tables.replace(base, "rejects", map(_reject_row, (*record_rejects, *rejects)))
        tables.replace(base, "notes", ({"note": note} for note in map(_labels_without_photos, scanned) if note))
        tables.replace(base, "links", found)
        tables.replace(base, "runs", ({"id": id, "run": run} for id, run in run_of.items()))
        base.execute(
            "create or replace table items as "
            "select id, lines.* exclude (address) from lines join records using (address)"
        )
        tables.replace(base, "carried", _carried(one for _, one in settled.values()))
        base.commit()
    return read(work)


def resolved(sources: Sequence[str]) -> list[str]:
    """The sources as whole addresses, each once, in the order given."""
    whole = (one.rstrip("/") if objects.is_remote(one) else str(Path(one).resolve()) for one in sources)
    return list(dict.fromkeys(whole))


def split_sides(
    catalogue: Catalogue, shares: SplitRecipe, seed: int, hold_out: Sequence[str] = (), given: Mapping[str, str] = {}
) -> Catalogue:
    """Give every photo its side and store it. ``given``: sides chosen elsewhere, for photos that have none yet.

    Raises LeakError where the given sides leak or a held-out photo was learnt from, UsageError for an unknown side.
    """
    ids = [row.id for row in (*catalogue.rows, *catalogue.unpictured)]
    known = set(ids)
    unknown = sorted(set(given.values()) - {*split.SIDES, split.HELD})
    if unknown:
        raise UsageError(f"Side {unknown[0]!r} does not exist", "a photo has one side", ", ".join(split.SIDES))
    with tables.opened(catalogue.work) as base:
        stored = {
            id: Placement(side, reason)
            for id, side, reason in base.execute("select id, side, reason from sides").fetchall()
        }
        for id, side in given.items():
            if id in known:
                stored.setdefault(id, Placement(side, "given"))
        if given:
            touched = [link for link in catalogue.links if link.one in given or link.other in given]
            split.refuse_leaks(touched, {id: one.side for id, one in stored.items() if id in known})
        placed = split.place(ids, catalogue.links, stored, shares, seed, [id for id in hold_out if id in known])
        split.refuse_leaks(catalogue.links, {id: one.side for id, one in placed.items()})
        base.begin()
        base.execute("create temp table placed (id text, side text, reason text)")
        tables.insert(
            base, "placed", ({"id": id, "side": one.side, "reason": one.reason} for id, one in placed.items())
        )
        base.execute("insert or replace into sides select id, side, reason from placed")
        base.commit()
    return read(catalogue.work)


def facts(work: Path) -> list[Fact]:
    """What the rules of cleaning ask, for every id that has a photo, a record, or a photo that was refused."""
    with tables.opened(work, read_only=True) as base:
        rows = base.execute(
            "with refused as (select id, min(why) as why from rejects semi join looks using (address) "
            "where id not in (select id from photos) group by id) "
            "select id, count, flags, contrast, sharpness, '' from photos union all "
            "select id, quantity, coalesce(flags, []), null, null, coalesce(why, '') "
            "from (select id, quantity, flags from records where id not in (select id from photos)) "
            "full join refused using (id)"
        ).fetchall()
    return [Fact(id, count, tuple(flags), *rest) for id, count, flags, *rest in rows]


def clean(catalogue: Catalogue, rejections: Iterable[Rejection]) -> Catalogue:
    """Store what is left out of learning in place of what was before. Sides stay as they are."""
    with tables.opened(catalogue.work) as base:
        base.begin()
        tables.replace(base, "cleaned", rejections)
        base.commit()
    return read(catalogue.work)


def read(work: Path) -> Catalogue:
    """The catalogue that a work folder holds. Raises InputError where there is none."""
    with tables.opened(work, read_only=True) as base:
        rows = base.execute(
            "select id, address, sha256, likeness, count, run, coalesce(side, '') from photos join runs using (id) "
            "left join sides using (id) order by id"
        ).fetchall()
        unpictured = base.execute(
            "select id, '', '', '', quantity, run, coalesce(side, '') from records join runs using (id) "
            "left join sides using (id) where not photo order by id"
        ).fetchall()
        found = base.execute("select one, other, why from links order by all").fetchall()
        rejects = base.execute("select id, address, what, why, next from rejects order by all").fetchall()
        notes = base.execute("select note from notes").fetchall()
        cleaned = base.execute("select id, list(rule order by rule) from cleaned group by id").fetchall()
    return Catalogue(
        work,
        tuple(Row(*row) for row in rows),
        tuple(Link(*link) for link in found),
        tuple(Reject(id, address, InputError(*error)) for id, address, *error in rejects),
        tuple(note for (note,) in notes),
        tuple(Row(*row) for row in unpictured),
        {id: tuple(rules) for id, rules in cleaned},
    )


def lines(work: Path) -> dict[str, tuple[Item, ...]]:
    """The lines of every record that has any, by its id. Raises InputError where there is no catalogue."""
    with tables.opened(work, read_only=True) as base:
        return _lines(base)


def _lines(base: duckdb.DuckDBPyConnection) -> dict[str, tuple[Item, ...]]:
    """A shard's lines name no article, so they stand in where there is no record."""
    rows = base.execute(
        "select id, sku, asin, name, quantity, height, length, width, weight from items union all "
        "select id, lpad(line::text, 4, '0'), null, null, quantity, height, length, width, weight from carried "
        "where id not in (select id from items) order by id, sku"
    ).fetchall()
    found: dict[str, list[Item]] = {}
    for id, *line in rows:
        found.setdefault(id, []).append(Item(*line))
    return {id: tuple(items) for id, items in found.items()}


def samples(work: Path) -> list[tuple[str, Sample]]:
    """Every photo with a side as a shard tells of it, and its address: by side, then by id."""
    order = (*split.SIDES, split.HELD)
    with tables.opened(work, read_only=True) as base:
        rows = base.execute(
            "select address, id, count, run, side, sha256, likeness, coalesce(rules, []), width, height, "
            "brightness, contrast, sharpness from photos join runs using (id) join sides using (id) "
            "left join (select id, list(rule order by rule) as rules from cleaned group by id) using (id) "
            "order by list_position(?, side), id",
            [order],
        ).fetchall()
        pictured = {row[1] for row in rows}
        told: dict[str, list[Link]] = {}
        for link in (Link(*row) for row in base.execute("select one, other, why from links order by all").fetchall()):
            told.setdefault(link.one if link.one in pictured else link.other, []).append(link)
        items = _lines(base)
    found = []
    for address, *known in rows:
        sample = Sample(*known)
        own = tuple(Line(one.quantity, one.height, one.length, one.width, one.weight)
                    for one in items.get(sample.id, ()))  # fmt: skip
        links_of = tuple(told.get(sample.id, ()))
        found.append((address, replace(sample, cleaned=tuple(sample.cleaned), links=links_of, lines=own)))
    return found


def _settled(entries: Iterable[Entry], packs: Mapping[str, Shards]) -> dict[str, tuple[str, Sample]]:
    """The photos that come from shards, by id: from which, and what is told of them."""
    told = {address: {one.sample.id: one.sample for one in pack.photos} for address, pack in packs.items()}
    return {entry.id: (entry.source, told[entry.source][entry.id]) for entry in entries if entry.source in told}


def _carried(samples: Iterable[Sample]) -> Iterator[dict[str, object]]:
    for sample in samples:
        for number, line in enumerate(sample.lines):
            yield {"id": sample.id, "line": number, **asdict(line)}


def _take_over(
    base: duckdb.DuckDBPyConnection, packs: Mapping[str, Shards], settled: Mapping[str, tuple[str, Sample]]
) -> None:
    """Store the sides of shards, which are final, and what was cleaned when they were made, once a manifest: cleaning
    anew goes before it. Raises RecordError where photos have other sides here."""
    stored = dict(base.execute("select id, side from sides").fetchall())
    moved = sorted(
        id for id, (_, one) in settled.items()
        if split.HELD not in (one.side, stored.get(id, one.side)) and stored.get(id, one.side) != one.side
    )  # fmt: skip
    if moved:
        few = ", ".join(moved[:3]) + (" …" if moved[3:] else "")
        why = f"{len(moved):,} photos stand on other sides in the shards ({few}), and sides are final"
        raise RecordError("The shards do not fit this work folder", why, "another folder: --work NEW_DIR")
    news = [id for id, (_, one) in settled.items() if stored.get(id) not in (one.side, split.HELD)]
    base.execute("create temp table told (id text, side text, reason text)")
    rows = ({"id": id, "side": settled[id][1].side, "reason": "as the shards say"} for id in news)
    tables.insert(base, "told", rows)
    base.execute("insert or replace into sides select id, side, reason from told")
    known = dict(base.execute("select address, manifest from shards").fetchall())
    fresh = {address for address, pack in packs.items() if known.get(address) != pack.digest}
    cleaned = {id: one.cleaned for id, (address, one) in settled.items() if address in fresh}
    base.execute("delete from cleaned where id in (select unnest(?))", [list(cleaned)])
    tables.insert(base, "cleaned", (
        {"id": id, "rule": rule, "reason": "as the shards say"} for id, rules in cleaned.items() for rule in rules
    ))  # fmt: skip
    base.execute("delete from shards where address in (select unnest(?))", [list(fresh)])
    tables.insert(base, "shards", ({"address": one, "manifest": packs[one].digest} for one in fresh))


def _link(
    base: duckdb.DuckDBPyConnection,
    entries: Sequence[Entry],
    records: Mapping[str, Recorded],
    settled: Mapping[str, tuple[str, Sample]],
    recipe: LinkRecipe,
    track: Track,
) -> list[Link]:
    """The links between photos and records; what shards have settled among themselves is not asked again."""

    def apart(one: str, other: str) -> bool:
        return one not in settled or other not in settled or settled[one][0] != settled[other][0]

    by_id = {entry.id: entry for entry in entries}
    found = [link for _, one in settled.values() for link in one.links]
    copies = links.copies({entry.id: entry.sha256 for entry in entries})
    found += [link for link in copies if apart(link.one, link.other)]
    doubtful = []
    for one, other in links.neighbours(by_id.keys() | records.keys()):
        if not apart(one, other):
            continue
        products, others = (records[id].products if id in records else () for id in (one, other))
        if products and others:
            if not set(products).isdisjoint(others):
                found.append(Link(one, other, "shares a product"))
        elif one in by_id and other in by_id:
            doubtful.append((one, other))
    agreements = looks.agreements(base, [(by_id[one], by_id[other]) for one, other in doubtful], track)
    for (one, other), agreement in zip(doubtful, agreements, strict=True):
        if agreement >= recipe.registration:
            found.append(Link(one, other, "pictures agree"))
    # A bin before and after small changes may look alike, too, but is no copy. A picture of one grey has no waves.
    run_of = links.runs(by_id, found)
    telling = {entry.id: entry.likeness for entry in entries if entry.contrast >= recipe.contrast}
    near = (link for link in links.near(telling) if apart(link.one, link.other))
    return found + [link for link in near if run_of[link.one] != run_of[link.other]]


def _labels_without_photos(source: Source) -> str | None:
    lone = sorted(source.labels.keys() - {one.id for one in source.photos} - source.records.keys())
    if not lone:
        return None
    few = ", ".join(lone[:3]) + (" …" if lone[3:] else "")
    hint = "; did a spreadsheet drop zeros from the ids?" if len(lone) == len(source.labels) else ""
    return f"{len(lone):,} of {len(source.labels):,} ids in {source.address}/labels.csv have no photo ({few}){hint}"


def _reject_row(reject: Reject) -> dict[str, str]:
    return {"id": reject.id, "address": reject.address, **reject.error.as_row()}


def tally(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Photos, labelled photos and runs of each side, in the sides' order."""
    photos: Tally[str] = Tally()
    labelled: Tally[str] = Tally()
    run_of: dict[str, set[str]] = {}
    for row in rows:
        photos[row.side] += 1
        labelled[row.side] += row.count is not None
        run_of.setdefault(row.side, set()).add(row.run)
    order = [side for side in (*split.SIDES, split.HELD, "") if side in photos]
    return {side: {"photos": photos[side], "labelled": labelled[side], "runs": len(run_of[side])} for side in order}
