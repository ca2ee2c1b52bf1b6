"""What learning fitted about passing: how photo and lines combine, and from which score on a record may pass.

Plain numbers in JSON, a bundle's member ``deciding.json``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from binventory.deciding.manifest import Manifest
from binventory.errors import BundleError
from binventory.records import LEVELS, Item

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Powers:
    """Exponents of the stack: p(k) ∝ photo(k)^photo · lines(k)^lines / prior(k)^prior. All 1: the plain product."""

    photo: float = 1.0
    lines: float = 1.0
    prior: float = 1.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """Of records that are wrong in the way ``kind``, at most ``bound`` score ``score`` or more.

    ``lines``: whether the records are judged with their lines, or by the photo alone; ``runs``: on how many tampered
    records, one a run, it was fitted; ``right``: at least this share of right records scores as much
    (Clopper-Pearson).
    """

    kind: str
    lines: bool
    bound: float
    score: float
    runs: int
    right: float


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean log loss of the true total on ``records`` records with lines that chose between stack and product: by the
    photo alone, by the lines alone, by their plain product, by the stack."""

    records: int
    photo: float
    lines: float
    product: float
    stack: float


@dataclass(frozen=True, slots=True)
class Rule:
    """``prior``: the mix of totals that photo and lines both stand under. ``lines``: shares of records with 0, 1, 2 …
    lines; ``quantities``: of lines with 1, 2, 3 … items; both empty, and ``manifest`` None, where the records had no
    lines. ``delta``: the thresholds of one bound hold all together but for this probability. ``dependence``: how
    photos of one run err together, 0..1 (correlation of a Gaussian copula)."""

    prior: tuple[float, ...]
    powers: Powers
    thresholds: tuple[Threshold, ...]
    delta: float
    dependence: float
    manifest: Manifest | None = None
    lines: tuple[float, ...] = ()
    quantities: tuple[float, ...] = ()
    losses: Losses | None = None
    format: int = FORMAT

    def photo(self, probs: Sequence[float]) -> NDArray[np.float64]:
        """How many times likelier a photo is for each total than for bins as they come: [22], of mean 1 under the
        prior. ``probs``: its 22 probabilities."""
        powers, prior = self.powers, np.asarray(self.prior)
        ratio = np.maximum(np.asarray(probs), 1e-12) ** powers.photo / prior**powers.prior
        return np.asarray(ratio / (ratio @ prior))

    def told(self, items: Sequence[Item]) -> NDArray[np.float64]:
        """What is to be expected of a record's total by its lines, before any photo: [22], summing to one. The prior
        where it has no lines or the rule knows none."""
        if self.manifest is None or not items:
            return np.asarray(self.prior)
        lines = self.manifest.probs([items])[0] ** self.powers.lines
        return np.asarray(lines / lines.sum())

    def totals(self, probs: Sequence[float], items: Sequence[Item]) -> NDArray[np.float64]:
        """p(total | photo, lines): [22]; the photo's own distribution where there are no lines."""
        if not self.judges_lines(items):
            return np.asarray(probs)
        both = self.photo(probs) * self.told(items)
        return np.asarray(both / both.sum())

    def judges_lines(self, items: Sequence[Item]) -> bool:
        """Whether a record with these lines is judged with them."""
        return bool(items) and self.manifest is not None

    def threshold(self, kinds: Collection[str], bound: float, lines: bool) -> Threshold | None:
        """From which score on a record passes where errors of these kinds are declared: the highest of their
        thresholds at the largest fitted bound that does not exceed ``bound``. None where one is not fitted."""
        fitted = {one.bound for one in self.thresholds if one.bound <= bound + 1e-9}
        found = [one for one in self.thresholds
                 if one.lines == lines and one.kind in kinds and one.bound == max(fitted, default=0)]  # fmt: skip
        return max(found, key=lambda one: one.score) if len({one.kind for one in found}) == len(set(kinds)) else None

    def unfitted(self, kinds: Collection[str], lines: bool) -> list[str]:
        """The kinds of error that no threshold is fitted for."""
        known = {one.kind for one in self.thresholds if one.lines == lines}
        return [kind for kind in kinds if kind not in known]

    def to_bytes(self) -> bytes:
        """The rule as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @staticmethod
    def from_bytes(data: bytes, name: str = "deciding.json") -> Rule:
        """Read a rule. Raises BundleError where a part is missing, of the wrong type, or out of its range."""
        try:
            rule = msgspec.json.decode(data, type=Rule)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BundleError(f"{name} is no rule of passing", str(error), "make the bundle again") from None
        wrong = _wrong(rule)
        if wrong:
            raise BundleError(f"{name} does not fit", wrong, "make the bundle again with this version")
        return rule


def _wrong(rule: Rule) -> str | None:
    """What is wrong with a rule's numbers, if anything."""
    if rule.format != FORMAT:
        return f"its format is {rule.format}, and this version reads {FORMAT}"
    if len(rule.prior) != LEVELS or min(rule.prior) <= 0 or abs(sum(rule.prior) - 1) > 1e-3:
        return f"its prior is not {LEVELS} positive shares that sum to 1"
    if not 0 <= rule.dependence < 1 or not 0 < rule.delta < 1:
        return "its dependence or delta is no share"
    if any(not (0 < one.bound < 1 and one.score >= 0 and 0 <= one.right <= 1) for one in rule.thresholds):
        return "a threshold is out of its range"
    if rule.manifest is not None and not rule.manifest.fits():
        return "what it says of lines has the wrong shape"
    return None
