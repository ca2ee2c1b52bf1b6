"""What data are and where their traps lie: gathered from a catalogue into one record of plain numbers and few photos.

Every choice of photos is by hash or by value, one photo a run, so that the same data always show the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from binventory.data import split, tables, traits
from binventory.data.catalogue import Catalogue, Row, tally
from binventory.data.links import Link
from binventory.data.traits import Change, Leak, Mix, Refusals, Spread, Volume
from binventory.photo import COMMON_SIDE
from binventory.recipe import SplitRecipe
from binventory.records import LEVELS, TAIL

BANDS = ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 10), (11, 20), (21, None))
"""The lowest and highest count of each strip of example photos."""

EACH = 6
"""Photos in each strip, and pairs of each kind."""

LONG = 24.0
"""Inches above which an item's edge is odd: no bin is so deep."""

_TWINS = ("shares a product", "pictures agree")
_COPIES = ("same photo", "pictures alike")
_SQUARE = "height > 0 and length > 0 and width > 0 and greatest(height, length, width) < 10000"


Held = Mapping[str, int | None]
"""What a record holds: product to quantity."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A photo to show. ``value``: what it was chosen by, where that is a measure."""

    id: str
    address: str
    count: int | None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Strip:
    """Photos of the counts from ``low`` to ``high`` (None: without end), a few of the ``number`` that there are."""

    low: int
    high: int | None
    number: int
    photos: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Extreme:
    """The photos at one end of a measure."""

    name: str
    photos: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photos of one run, why they are linked, and what their records say has changed (None: one has no lines)."""

    one: Seen
    other: Seen
    why: str
    changes: tuple[Change, ...] | None


@dataclass(frozen=True, slots=True)
class Place:
    """One of the sources: its photos, the mix of their counts (its ``distance`` is from all data's mix), and the median
    width and height in pixels."""

    address: str
    photos: int
    mix: Mix | None
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """The photos as pictures: the commonest sizes (width, height, photos), spreads by name, and extremes where there
    are enough photos to have any.

    ``small``: how many have a longer side below the 320 px that every photo is reduced to.
    """

    sizes: tuple[tuple[int, int, int], ...]
    kinds: int
    small: int
    spreads: dict[str, Spread]
    extremes: tuple[Extreme, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of the records. ``a_bin``: bins with 0, 1, 2 … of them, 10 and more last; ``quantities``: lines of
    quantity 0 to 20 and more. ``odd``: lines by what is odd about their sizes."""

    lines: int
    a_bin: tuple[int, ...]
    quantities: tuple[int, ...]
    odd: dict[str, int]


@dataclass(frozen=True, slots=True)
class Volumes:
    """The volume of a bin's items against its quantity, by ``bins`` whose sizes are all known, and how the two go
    together: Spearman's ``correlation``, None where it cannot be told. ``left_out``: bins with a size unknown."""

    bins: int
    left_out: int
    correlation: float | None
    by_count: tuple[Volume, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Linked pairs: how many by reason, how many of which differ in count by 0, 1, 2, 3 and more, and some to show."""

    by_why: dict[str, int]
    steps: tuple[int, ...]
    shown: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Leaks:
    """A split of the photos by hash, each by itself and by runs, with the recipe's shares."""

    shares: dict[str, float]
    random: Leak
    by_runs: Leak


@dataclass(frozen=True, slots=True)
class Exploration:
    """All that a look at data gives. ``counted``: whether the mix is of ``photos`` or, without labelled ones, of
    ``records``. ``met_again``: products met in more than one run. ``in_runs``: photos with another of their run.
    ``sides``: photos, labelled photos and runs of each stored side; empty before a split.
    """

    photos: int
    labelled: int
    unpictured: int
    records: int
    flagged: int
    runs: int
    in_runs: int
    longest_run: int
    products: int
    met_again: int
    rejects: int
    counted: str
    mix: Mix | None
    reference: tuple[float, ...]
    places: tuple[Place, ...]
    strips: tuple[Strip, ...]
    pictures: Pictures | None
    lines: Lines | None
    volumes: Volumes | None
    twins: Pairs
    copies: Pairs
    leaks: Leaks
    sides: dict[str, dict[str, int]]
    flags: dict[str, int]
    refusals: tuple[Refusals, ...]
    notes: tuple[str, ...]

    def as_row(self) -> dict[str, Any]:
        """The numbers as they stand in JSON output."""
        import msgspec

        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def explore(catalogue: Catalogue, shares: SplitRecipe, seed: int, reference: Sequence[float]) -> Exploration:
    """Look at a catalogue. ``shares`` and ``seed`` are of the splits that are tried; ``reference`` the shares of the
    counts 0..20 and more that bins have where nobody has picked them."""
    rows = catalogue.rows or catalogue.unpictured
    counts = [row.count for row in rows if row.count is not None]
    labelled = len(counts) if catalogue.rows else 0
    if not labelled:
        counts = [row.count for row in catalogue.unpictured if row.count is not None]
    mix = traits.mix(counts, reference)
    sizes = _run_sizes(rows)
    with tables.opened(catalogue.work, read_only=True) as base:
        records, flagged = _one(base, "select count(*), count(*) filter (len(flags) > 0) from records")
        products, again = _one(
            base,
            "select count(*), count(*) filter (n > 1) from (select coalesce(asin, sku), count(distinct run) n "
            "from items join runs using (id) group by 1)",
        )
        return Exploration(
            photos=len(catalogue.rows),
            labelled=labelled,
            unpictured=len(catalogue.unpictured),
            records=records,
            flagged=flagged,
            runs=len(sizes),
            in_runs=sum(n for n in sizes.values() if n > 1),
            longest_run=max(sizes.values(), default=0),
            products=products,
            met_again=again,
            rejects=len(catalogue.rejects),
            counted="photos" if labelled else "records",
            mix=mix,
            reference=tuple(reference),
            places=_places(base, mix),
            strips=tuple(_strip(base, low, high) for low, high in BANDS) if labelled else (),
            pictures=_pictures(base) if catalogue.rows else None,
            lines=_lines(base),
            volumes=_volumes(base),
            twins=_pairs(base, catalogue, _TWINS),
            copies=_pairs(base, catalogue, _COPIES),
            leaks=_leaks(rows, catalogue, shares, seed),
            sides=tally(rows) if any(row.side for row in rows) else {},
            flags=dict(base.execute(
                "select flag, count(*) from (select unnest(flags) flag from records) group by 1 order by 2 desc, 1"
            ).fetchall()),
            refusals=traits.refusals(catalogue.rejects),
            notes=catalogue.notes,
        )  # fmt: skip


def _one(base: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = base.execute(sql).fetchone()
    assert row is not None
    return row


def _run_sizes(rows: Iterable[Row]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.run] = sizes.get(row.run, 0) + 1
    return sizes


def _leaks(rows: Sequence[Row], catalogue: Catalogue, shares: SplitRecipe, seed: int) -> Leaks:
    run_of = {row.id: row.run for row in rows}
    ids = [row.id for row in (*catalogue.rows, *catalogue.unpictured)]  # what lies between two photos joins them
    ways = (split.place(ids, linked, {}, shares, seed) for linked in ((), catalogue.links))
    return Leaks(
        {side: getattr(shares, side) for side in split.SIDES},
        *(traits.leak(run_of, {id: placed[id].side for id in run_of}) for placed in ways),
    )


def _places(base: duckdb.DuckDBPyConnection, whole: Mix | None) -> tuple[Place, ...]:
    found = base.execute(
        "select source, count(*), list(count) filter (count is not null), median(width), median(height) "
        "from photos group by 1 order by 1"
    ).fetchall()
    shares = whole.shares if whole else ()
    return tuple(
        Place(source, n, traits.mix(counts or (), shares), round(width), round(height))
        for source, n, counts, width, height in found
    )


_SHOWN = "select id, address, count, {value} from photos join runs using (id) where {where} " \
    "qualify row_number() over (partition by run order by {by}, id) = 1 order by {by}, id limit {each}"  # fmt: skip
"""The first photos in an order, one a run: twins of a photo would say the same again."""


def _shown(base: duckdb.DuckDBPyConnection, by: str, value: str = "null", where: str = "true") -> tuple[Seen, ...]:
    sql = _SHOWN.format(value=value, where=where, by=by, each=EACH)
    return tuple(Seen(*row) for row in base.execute(sql).fetchall())


def _strip(base: duckdb.DuckDBPyConnection, low: int, high: int | None) -> Strip:
    where = f"count >= {low}" + ("" if high is None else f" and count <= {high}")
    (number,) = _one(base, f"select count(*) from photos where {where}")
    return Strip(low, high, number, _shown(base, "md5(id)", where=where))


def _pictures(base: duckdb.DuckDBPyConnection) -> Pictures:
    sizes = base.execute("select width, height, count(*) n from photos group by 1, 2 order by n desc, 1, 2").fetchall()
    columns = base.execute(
        "select greatest(width, height) side, width / height aspect, brightness, contrast, sharpness "
        "from photos order by id"
    ).fetchnumpy()
    spreads = {name: traits.spread(values) for name, values in columns.items()}
    ends = (("Darkest", "brightness", ""), ("Brightest", "brightness", " desc"), ("Flattest", "contrast", ""),
            ("Most blurred", "sharpness", ""))  # fmt: skip
    return Pictures(
        tuple(sizes[:8]),
        len(sizes),
        int((columns["side"] < COMMON_SIDE).sum()),
        {name: one for name, one in spreads.items() if one},
        tuple(Extreme(name, _shown(base, measure + order, measure)) for name, measure, order in ends)
        if len(columns["side"]) > 2 * EACH
        else (),
    )


def _lines(base: duckdb.DuckDBPyConnection) -> Lines | None:
    lines, missing, absurd, long, uncounted = _one(
        base,
        "select count(*), count(*) filter (height is null or length is null or width is null), "
        "count(*) filter (least(height, length, width) <= 0 or greatest(height, length, width) >= 10000), "
        f"count(*) filter (greatest(height, length, width) between {LONG} + 1e-6 and 10000), "
        "count(*) filter (quantity is null) from items",
    )
    if not lines:
        return None
    odd = {"a size is missing": missing, "a size is zero, negative or absurd": absurd,
           f"an edge is over {LONG:.0f} in": long, "the quantity is missing": uncounted}  # fmt: skip
    return Lines(
        lines,
        _tally(base, "select least(count(items.id), 10) k from records left join items using (id) group by id", 11),
        _tally(base, f"select least(quantity, {TAIL}) k from items where quantity >= 0", LEVELS),
        {name: n for name, n in odd.items() if n},
    )


def _tally(base: duckdb.DuckDBPyConnection, sql: str, levels: int) -> tuple[int, ...]:
    found = dict(base.execute(f"select k, count(*) from ({sql}) group by 1").fetchall())
    return tuple(found.get(k, 0) for k in range(levels))


def _volumes(base: duckdb.DuckDBPyConnection) -> Volumes | None:
    found = base.execute(
        "select any_value(records.quantity), sum(items.quantity * height * length * width) volume, "
        f"bool_and(coalesce(items.quantity >= 0 and {_SQUARE}, false)) known "
        "from records join items using (id) where records.quantity is not null group by id order by id"
    ).fetchall()
    known = [(quantity, volume) for quantity, volume, known in found if known and volume > 0]
    if not known:
        return None
    quantities, cubic_inches = zip(*known, strict=True)
    return Volumes(
        len(known),
        len(found) - len(known),
        traits.rank_correlation(quantities, cubic_inches),
        traits.volumes(quantities, cubic_inches),
    )


def _pairs(base: duckdb.DuckDBPyConnection, catalogue: Catalogue, whys: Sequence[str]) -> Pairs:
    by_id = {row.id: row for row in catalogue.rows}
    pairs = [link for link in catalogue.links if link.why in whys and link.one in by_id and link.other in by_id]
    counts = [(by_id[link.one].count, by_id[link.other].count) for link in pairs]
    few = [link for why in whys for link in _few([link for link in pairs if link.why == why], by_id)]
    held, names = _held(base, [id for link in few for id in (link.one, link.other)])
    return Pairs(
        {why: sum(link.why == why for link in pairs) for why in whys},
        traits.steps((one, other) for one, other in counts if one is not None and other is not None),
        tuple(_pair(link, by_id, held, names) for link in few),
    )


def _few(pairs: Iterable[Link], by_id: Mapping[str, Row]) -> list[Link]:
    """The first few pairs, one a run: those whose counts differ before the others, else by hash."""

    def order(link: Link) -> tuple[bool, bytes]:
        one, other = by_id[link.one].count, by_id[link.other].count
        return one == other or one is None or other is None, hashlib.sha256(link.one.encode()).digest()

    by_run: dict[str, Link] = {}
    for link in sorted(pairs, key=order):
        by_run.setdefault(by_id[link.one].run, link)
    return list(by_run.values())[:EACH]


def _pair(link: Link, by_id: Mapping[str, Row], held: Mapping[str, Held], names: Mapping[str, str]) -> Pair:
    one, other = (Seen(id, by_id[id].address, by_id[id].count) for id in (link.one, link.other))
    both = link.one in held and link.other in held
    changed = traits.changes(held[link.one], held[link.other], names) if both else None
    return Pair(one, other, link.why, changed)


def _held(base: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> tuple[Mapping[str, Held], dict[str, str]]:
    """What the records of some ids hold, and the products' names."""
    told = base.execute(
        "select id from records where id in (select unnest(?::text[])) and not list_contains(flags, 'items missing')",
        [ids],
    ).fetchall()
    held: dict[str, dict[str, int | None]] = {id: {} for (id,) in told}
    names: dict[str, str] = {}
    for id, product, name, quantity in base.execute(
        "select id, coalesce(asin, sku) product, min(name), sum(quantity)::bigint from items "
        "where id in (select unnest(?::text[])) group by 1, 2 order by 1, 2",
        [ids],
    ).fetchall():
        held[id][product] = quantity
        if name:
            names[product] = name
    return held, names
