"""The curve is a picture that any browser opens, whatever the numbers are."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from binventory.learning.full import curve

NAMES = ("train_loss", "validate_log_loss", "validate_accuracy", "validate_within_one")


@given(
    st.lists(
        st.fixed_dictionaries({name: st.floats(0, 50 if "loss" in name else 1) for name in NAMES}),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_every_epoch_is_a_point_inside_the_picture(rows: list[dict[str, float]]) -> None:
    tree = ElementTree.fromstring(curve.drawn(rows))
    wide, high = map(float, tree.attrib["viewBox"].split()[2:])
    lines = [node for node in tree.iter() if node.tag.endswith("polyline")]
    assert len(lines) == 4
    for line in lines:
        points = [tuple(map(float, one.split(","))) for one in line.attrib["points"].split()]
        assert len(points) == len(rows)
        assert all(0 <= x <= wide and -1 <= y <= high for x, y in points)
    assert f"{len(rows)} epoch" in "".join(tree.itertext())
