"""Adds to a shipped bundle what its data tells of passing records: the member ``deciding.json``, and nothing else.

    python ship/rules.py abid --data DIR [--data DIR …] [--on DIR] [--hold-out FILE] [--work DIR]

The photos take the sides that they had when the bundle was made; those that its trunk has learnt from neither choose
nor calibrate. ``--on`` names the sources whose photos choose and calibrate, where not all are like a site's. For
``open`` the data is the drawn bins of ``ship/open.py``.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

from binventory import recipe
from binventory.cli import terminal
from binventory.counting import bundle
from binventory.counting.bundle import SHORT, Bundle
from binventory.counting.counter import Counter, probed
from binventory.data import catalogue, lists
from binventory.data.catalogue import Catalogue, Row, resolved
from binventory.deciding.rule import Rule
from binventory.learning import card, features, passing, quick
from binventory.learning.quick import Sides

SHIPPED = Path(__file__).parent.parent / "src" / "binventory" / "shipped"


def main() -> None:
    """Catalogue, split as before, fit, write, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("name", choices=bundle.SHIPPED)
    options.add_argument("--data", action="append", required=True)
    options.add_argument("--on", action="append")
    options.add_argument("--hold-out", type=Path)
    options.add_argument("--work", type=Path, required=True)
    given = options.parse_args()

    made = bundle.load(given.name)
    settings = recipe.load(made.manifest.kind)
    data = catalogue.build(given.data, given.work, settings.link, terminal.tracked)
    kept_out = lists.read_ids(str(given.hold_out)) if given.hold_out else []
    data = catalogue.split_sides(data, settings.split, made.manifest.recipe["seed"], kept_out)
    sides = sides_of(made, data, resolved(given.on or given.data))
    rule = fitted(made, sides, given.work)
    deciding = replace(made, deciding=rule.to_bytes())
    archive = SHIPPED / f"{given.name}.tar.gz"
    bundle.save(replace(deciding, card=card.written(deciding)), archive if archive.is_file() else SHIPPED / given.name)
    print(rule.powers, rule.losses, f"dependence {rule.dependence}", *rule.thresholds, sep="\n")


def sides_of(made: Bundle, data: Catalogue, sources: list[str]) -> Sides:
    """The sides that the bundle learnt from, checked against what it says it has seen."""
    sides = quick.sides_again(made, data)
    seen = {one["sha256"] for one in csv.DictReader(made.seen.decode().splitlines())}
    strangers = sum(row.sha256[:SHORT] not in seen for row in sides.seen())
    if strangers:
        raise SystemExit(f"{strangers} photos of these sides are none that the bundle has seen: the split is another")
    return replace(sides, validate=_from(sides.validate, sources), calibrate=_from(sides.calibrate, sources))


def fitted(made: Bundle, sides: Sides, work: Path) -> Rule:
    """The rule, from the bundle's counts of the sides' photos."""
    trunk, lines = probed(made), catalogue.lines(work)
    counter = Counter(made, trunk)
    validate, calibrate = (
        passing.known(rows, counter.count_features(features.of(rows, trunk, made.manifest.input, work)), lines)
        for rows in (sides.validate, sides.calibrate)
    )
    print(f"{len(validate)} photos choose, {len(calibrate)} calibrate")
    return passing.fitted([passing.right(row, lines) for row in sides.train], validate, calibrate, made.manifest.prior)


def _from(rows: tuple[Row, ...], sources: list[str]) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.address.startswith(tuple(f"{one}/" for one in sources)))


if __name__ == "__main__":
    main()
