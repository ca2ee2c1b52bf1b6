"""The model card: what a bundle is, learnt from what, how good, and what it must not be used for."""

from __future__ import annotations

from binventory.counting.bundle import Bundle
from binventory.deciding.rule import Rule
from binventory.records import TAIL, shown


def written(bundle: Bundle) -> str:
    """The card as Markdown, from the bundle's own manifest and calibration."""
    manifest, calibration = bundle.manifest, bundle.calibration
    scored = manifest.figures.get("validate", {})
    low, high = scored.get("accuracy_ci", (0, 0))
    learnt = "; ".join(f"{side}: {n['labelled']:,} photos in {n['runs']:,} runs" for side, n in
                       manifest.learnt_from.items())  # fmt: skip
    mix = ", ".join(f"{shown(k)}: {share:.1%}" for k, share in enumerate(manifest.trained_prior) if share >= 0.005)
    groups = "\n".join(
        f"| {', '.join(shown(k) for k in group.counts) if len(group.counts) < 4 else _span(group.counts)} "
        f"| {group.photos} | {group.quantile:.3f} |"
        for group in calibration.groups
    )
    rules = ", ".join(f"{rule} {n:,}" for rule, n in manifest.left_out.items() if rule != "in all")
    left_out = f"\n- Left out of that: {manifest.left_out['in all']:,} photos ({rules})." if rules else ""
    note = f"\nMind: {manifest.note}.\n" if manifest.note else ""
    return f"""# {manifest.name}

Counts the items in a photo of one warehouse bin: a calibrated distribution over 0 to {TAIL - 1} and more.
{note}
- Made with binventory {manifest.version} by the recipe `{manifest.kind}`, on {manifest.runtime}.
- Licence: {manifest.licence}. Derived from: {"; ".join(manifest.derived_from) or "nothing else"}.
- Learnt from: {learnt}.{left_out}
- Mix of counts that it learnt from: {mix}.

## Figures

On {_chose(bundle)}, on which its head was chosen ({scored.get("n", 0):,} photos, {scored.get("runs", 0):,} runs):
exact {scored.get("accuracy", 0):.1%} (95 % interval over runs {low:.1%} to {high:.1%}), within one
{scored.get("within_one", 0):.1%}, RMSE {scored.get("rmse", 0):.2f}; the commonest count alone is right for
{scored.get("majority_accuracy", 0):.1%}. For figures on photos that it has not met: `binventory evaluate`.

## Intervals

Conformal sets at {calibration.coverage:.0%}, label-conditional, fitted on {calibration.runs:,} runs (one photo each).

| counts | runs | quantile |
|---|---|---|
{groups}

A quantile of 2 means that too few runs were there to leave anything out.

{_passing(bundle)}## Limits

It sees a bin's total, never which article is which. It knows bins like those it learnt from; for another site's
cameras, fit it to photos of that site (`binventory train --from`). Labels are records, and some records are wrong.
"""


def _passing(bundle: Bundle) -> str:
    """What the bundle has learnt about passing records, in two sentences; nothing where it has learnt nothing."""
    if bundle.deciding is None:
        return ""
    rule = Rule.from_bytes(bundle.deciding)
    bounds = sorted({one.bound for one in rule.thresholds})
    told = []
    for lines, by in ((True, "by photo and lines"), (False, "by the photo alone")):
        kinds = list(dict.fromkeys(one.kind for one in rule.thresholds if one.lines == lines))
        worst = [one for bound in bounds if kinds and (one := rule.threshold(kinds, bound, lines))]
        if worst:
            shares = ", ".join(f"{one.right:.0%} at {one.bound:.0%}" for one in worst)
            told.append(f"{by} at least {shares} ({', '.join(kinds)})")
    runs = max((one.runs for one in rule.thresholds), default=0)
    return f"""## Passing records

A record may pass so that of those that are wrong in a declared way at most a given share does, fitted on up to {runs:,}
runs, one photo each. Of right records this share then passes: {"; ".join(told) or "none"}.

"""


def _chose(bundle: Bundle) -> str:
    """The photos that chose the head: where a network learnt from validate, too, half of calibrate's runs."""
    recipe = bundle.manifest.recipe
    also = bundle.manifest.kind == "full" and recipe.get("full", {}).get("learn") == "train+validate"
    return "half of the calibrate side's runs" if also else "the validate side"


def _span(counts: tuple[int, ...]) -> str:
    whole = counts == tuple(range(counts[0], TAIL + 1))
    return f"{counts[0]} and above" if whole else ", ".join(shown(k) for k in counts)
