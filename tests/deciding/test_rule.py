"""A rule reads back as it was written, and a damaged one is refused; the bounds on shares are the exact ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from binventory import BundleError, Policy, Rule
from binventory.counting.priors import REFERENCE
from binventory.deciding import risk
from binventory.deciding.manifest import TRAITS, Manifest
from binventory.deciding.policy import ErrorKind
from binventory.deciding.rule import Losses, Powers, Threshold
from binventory.records import LEVELS

RULE = Rule(
    REFERENCE, Powers(0.9, 0.8, 0.85),
    (Threshold("one more", True, 0.1, 0.9, 300, 0.2), Threshold("one fewer", True, 0.1, 2, 9, 0)),
    0.1, 0.3, Manifest(((0.1,) * LEVELS,) * TRAITS, (0.0,) * LEVELS), (0.1, 0.9), (0.5, 0.5), Losses(9, 2, 2, 1, 1),
)  # fmt: skip


def test_a_rule_reads_back_as_it_was_written() -> None:
    assert Rule.from_bytes(RULE.to_bytes()) == RULE


@pytest.mark.parametrize("change", [
    {"prior": [1.0]}, {"prior": [0.0] * LEVELS}, {"dependence": 1.5}, {"format": 9}, {"delta": 0},
    {"manifest": {"weight": [[1.0]], "bias": [0.0] * LEVELS}}, {"thresholds": "all"},
    {"thresholds": [{"kind": "one more", "lines": True, "bound": 3, "score": 1, "runs": 1, "right": 0}]},
])  # fmt: skip
def test_a_rule_out_of_its_range_is_refused(change: dict[str, Any]) -> None:
    told = json.loads(RULE.to_bytes()) | change
    with pytest.raises(BundleError):
        Rule.from_bytes(json.dumps(told).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe", b'{"prior": NaN}', b"{" * 10_000])
def test_what_is_no_rule_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        Rule.from_bytes(data)


@given(st.integers(0, 400), st.integers(1, 400), st.floats(0.01, 0.5))
@settings(max_examples=60)
def test_bounds_of_a_share_are_clopper_and_pearsons(hits: int, n: int, delta: float) -> None:
    hits = min(hits, n)
    high = 1.0 if hits == n else beta.ppf(1 - delta, hits + 1, n - hits)
    low = 0.0 if hits == 0 else beta.ppf(delta, hits, n - hits + 1)
    assert risk.upper(hits, n, delta) == pytest.approx(high, abs=1e-6)
    assert risk.lower(hits, n, delta) == pytest.approx(low, abs=1e-6)
    assert risk.below(hits, n, delta) == pytest.approx(binom.cdf(hits, n, delta), abs=1e-9)


def test_of_what_passed_nothing_is_said_where_no_rate_is_declared() -> None:
    one: tuple[ErrorKind, ...] = ("one more",)
    assert risk.wrong_among_passed(RULE, Policy(errors=one)) is None
    assert risk.wrong_among_passed(None, Policy(wrong_rate=0.05)) is None
    assert risk.wrong_among_passed(RULE, Policy(wrong_rate=0.05, errors=("one fewer",))) is None, "nothing can pass"
    said = risk.wrong_among_passed(RULE, Policy(wrong_rate=0.05, errors=one))
    assert said == pytest.approx(0.05 * 0.1 / (0.05 * 0.1 + 0.95 * 0.2))


def test_recounts_that_find_more_wrong_than_was_declared_are_believed() -> None:
    policy = Policy(wrong_rate=0.02, errors=("one more",))
    said = [risk.wrong_among_passed(RULE, policy, wrong, 500) or 0 for wrong in (0, 5, 50)]
    assert said[0] == risk.wrong_among_passed(RULE, policy)
    assert said == sorted(said) and said[-1] > 2 * said[0]
