"""Typed, frozen settings: TOML over defaults, ``--set section.field=value`` over TOML.

Files are TOML; ``--set``, and whatever else hands settings over as strings, goes through one parser. An unknown key or
a value of the wrong type is refused with the nearest right name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
from msgspec import Meta

from binventory import settings
from binventory.errors import UsageError

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
NotNegative = Annotated[float, Meta(ge=0, le=1e9)]


@dataclass(frozen=True, slots=True)
class SplitRecipe:
    """Shares of the four sides, by run. They sum to one."""

    train: Share = 0.7
    validate: Share = 0.1
    calibrate: Share = 0.1
    test: Share = 0.1


@dataclass(frozen=True, slots=True)
class LinkRecipe:
    """When two photos are of one bin.

    ``registration``: the lowest agreement of two neighbours' pictures (normalised cross-correlation of their
    gradients at the best shift, 0..1) that links them where a record is missing. ``contrast``: the lowest (0..1) at
    which a picture is compared with all others for its likeness.
    """

    registration: Share = 0.2
    contrast: Share = 0.05


CleanRule = Literal[
    "unreadable", "no label", "quantities do not add up", "near-uniform", "too blurred", "duplicate", "label unlikely"
]
"""Why a photo may be left out of what is learnt from."""


@dataclass(frozen=True, slots=True)
class CleanRecipe:
    """Which photos are left out of what is learnt from.

    ``rules``: those that apply; none puts everything back. ``contrast``: below it a photo is near-uniform (standard
    deviation of grey, 0..1); the plainest empty bin of ABID has 0.033. ``sharpness``: below it a photo is too blurred
    (standard deviation of the Laplacian, in grey of 0..255, at 320 px); of ABID's bins 0.4 % have less than the
    default, and what lies in them cannot be told apart. ``unlikely``: a label is unlikely where the distribution
    that a head gives its photo reaches out to it with no more than this share of what is usual for that label.
    ``folds``: in how many parts, by run, the train side is cut to judge its labels.
    """

    rules: tuple[CleanRule, ...] = get_args(CleanRule)
    contrast: Share = 0.02
    sharpness: NotNegative = 2.4
    unlikely: Share = 0.2
    folds: Annotated[int, Meta(ge=2, le=100)] = 5


@dataclass(frozen=True, slots=True)
class QuickRecipe:
    """The head that is fitted on a trunk's frozen features.

    ``order``: weight of the ranked probability score beside the cross-entropy; 0 forgets that counts have an order.
    ``balance``: 0 learns every photo alike, 1 every count alike; between them a power of the counts' shares.
    ``ridge``: the penalties on the weights among which validation chooses.
    ``rounds``: most steps of the optimiser (L-BFGS).
    ``size``: side in pixels of the pictures that the trunk is shown, for one that leaves it open (0: the trunk's own).
    """

    order: NotNegative = 1.0
    balance: Share = 0.3
    ridge: Annotated[tuple[Positive, ...], Meta(min_length=1)] = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
    rounds: Annotated[int, Meta(ge=1)] = 150
    size: Annotated[int, Meta(ge=0, le=1024)] = 0


@dataclass(frozen=True, slots=True)
class CameraRecipe:
    """How strongly fine-tuning varies each photo, as another camera, hour or lens would have; 0 leaves it out.

    ``flip`` mirrors left and right; ``crop`` is the share of each edge that may be cut off; ``light`` the swing of
    brightness, contrast, gamma and colour; ``blur``, ``jpeg`` and ``tape`` the shares of photos that are softened,
    compressed again, or crossed by a strip as bins have them.
    """

    flip: Share = 0.5
    crop: Annotated[float, Meta(ge=0, le=0.9)] = 0.15
    light: Annotated[float, Meta(ge=0, le=0.9)] = 0.25
    blur: Share = 0.1
    jpeg: Share = 0.25
    tape: Share = 0.1


@dataclass(frozen=True, slots=True)
class FullRecipe:
    """The fine-tuning of a whole network.

    ``backbone``: a timm network by name. ``mean``, ``std``: of RGB in 0..1, three numbers each; without them timm's
    own for the backbone. ``size``: side of its square input in pixels; ``start_size``: the side at which training
    starts, to grow to ``size`` by the middle (0: the same throughout). ``fit``: how pictures fill the input.
    ``frozen``: how many groups of layers, from the first on, keep their weights (a ResNet's: stem, layer1, layer2 …).
    ``norm``: whether batch norm goes on gathering statistics (``live``) or keeps the pretrained ones (``frozen``).
    ``epochs``: how often each photo is seen; ``minutes``: where above 0, the time after which training ends, its
    schedule annealed to fit, if the epochs are not done before. ``batch``: photos a step, over all processes.
    ``optimizer``, ``lr``, ``momentum`` (AdamW's first beta), ``decay``: the usual. ``warmup``: share of training in
    which the learning rate rises; then it falls as a cosine. ``average``: decay of the weights' moving average a step.
    ``order``: weight of the ranked probability score beside the cross-entropy. ``smoothing``: of the labels.
    ``balance``: 0 learns every photo alike, 1 every count alike.
    ``precision``: ``auto`` takes bf16 where the machine computes it natively.
    ``blend``: share of the weights that it started from in those that it ends with. ``count_size``: the side in pixels
    at which the finished network counts (0: ``size``).
    ``learn``: the sides to learn from; with ``train+validate`` half of calibrate's runs stand in for validate.
    ``pictures``: ``kept`` decodes each photo once into a file of the work folder; ``streamed`` reads and decodes it
    anew each time, ahead of the network, and keeps nothing: for more photos than the disk holds. Both learn the same.
    ``save_seconds``: between checkpoints.
    """

    backbone: str = "resnet50"
    mean: Annotated[tuple[float, ...], Meta(max_length=3)] = ()
    std: Annotated[tuple[Positive, ...], Meta(max_length=3)] = ()
    size: Annotated[int, Meta(ge=32, le=1024)] = 192
    start_size: Annotated[int, Meta(ge=0, le=1024)] = 0
    fit: Literal["squash", "letterbox"] = "squash"
    frozen: Annotated[int, Meta(ge=0)] = 2
    norm: Literal["live", "frozen"] = "live"
    epochs: Annotated[int, Meta(ge=1)] = 8
    minutes: NotNegative = 0.0
    batch: Annotated[int, Meta(ge=1)] = 32
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 3e-4
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    decay: NotNegative = 0.05
    warmup: Annotated[float, Meta(ge=0, le=0.9)] = 0.05
    average: Annotated[float, Meta(ge=0, lt=1)] = 0.998
    order: NotNegative = 0.5
    smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.05
    balance: Share = 0.3
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    blend: Share = 0.0
    count_size: Annotated[int, Meta(ge=0, le=1024)] = 0
    learn: Literal["train", "train+validate"] = "train"
    pictures: Literal["kept", "streamed"] = "kept"
    save_seconds: NotNegative = 60.0
    camera: CameraRecipe = field(default_factory=CameraRecipe)


@dataclass(frozen=True, slots=True)
class Recipe:
    """All settings of learning. ``prior``: the mix of counts that the finished bundle expects to meet.

    ``training`` is the mix of the photos that it learnt from, ``reference`` that of ABID's unselected first ten
    thousand ids, ``even`` every count alike.
    """

    kind: Literal["quick", "full"] = "quick"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    prior: Literal["training", "reference", "even"] = "training"
    split: SplitRecipe = field(default_factory=SplitRecipe)
    link: LinkRecipe = field(default_factory=LinkRecipe)
    clean: CleanRecipe = field(default_factory=CleanRecipe)
    quick: QuickRecipe = field(default_factory=QuickRecipe)
    full: FullRecipe = field(default_factory=FullRecipe)


def load(name: str = "quick", changes: Iterable[str] = ()) -> Recipe:
    """The recipe called ``quick`` or ``full``, or that of a TOML file, with ``section.field=value`` laid over it.

    Raises UsageError naming the setting, and the nearest right one where a name is unknown.
    """
    if name in ("quick", "full") and not Path(name).is_file():
        values: dict[str, Any] = {"kind": name}
    else:
        values = settings.read_toml(Path(name), "recipe", ("it is neither quick, full nor a file", "--recipe quick"))
    for setting in changes:
        _lay_over(values, setting)
    return from_mapping(values)


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with plain values laid over its settings, each named ``section.field``. Raises UsageError."""
    plain = to_mapping(recipe)
    for name, value in values.items():
        _put(plain, name, value)
    return from_mapping(plain)


def from_mapping(values: Mapping[str, Any]) -> Recipe:
    """A recipe from nested plain values, defaults where they are silent. Raises UsageError."""
    recipe = settings.from_mapping(values, Recipe(), "recipe")
    for name in ("mean", "std"):
        if len(getattr(recipe.full, name)) not in (0, 3):
            raise UsageError(f"Recipe setting full.{name} does not fit", "red, green and blue want one number each",
                             f"full.{name}=[0.5,0.5,0.5]")  # fmt: skip
    total = sum(asdict(recipe.split).values())
    if abs(total - 1) > 1e-6:
        raise UsageError("The recipe's split is not whole", f"its shares sum to {total:g}", "make them sum to 1")
    return recipe


def to_toml(recipe: Recipe) -> str:
    """The whole recipe as TOML, defaults included; ``load`` reads it back to the same recipe."""
    return tomli_w.dumps(to_mapping(recipe))


def to_mapping(recipe: Recipe) -> dict[str, Any]:
    """The whole recipe as nested plain values (tuples as lists)."""
    return settings.to_mapping(recipe)


def parse_value(text: str) -> Any:
    """A setting's value from a string: JSON where it reads as JSON, else the string itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # thousands of digits are no JSONDecodeError, nor are thousands of brackets
        return text


def _lay_over(values: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"Setting {setting!r} has no value", "settings read section.field=value", "--set seed=7")
    _put(values, name.strip(), parse_value(text.strip()))


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    *sections, last = name.split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise UsageError(f"Setting {name} does not exist", f"{section} is a value", f"--set {section}=…")
    place[last] = value
