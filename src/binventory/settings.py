"""Typed, frozen settings out of TOML: what recipes and sites share.

An unknown key is refused with the nearest right one, a value of the wrong type with an example of one that fits.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from binventory.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)


def read_toml(path: Path, whole: str, missing: tuple[str, str]) -> dict[str, Any]:
    """The values of a TOML file.

    ``whole``: what the file holds, for messages (``recipe``). ``missing``: why a file that is not there should be, and
    what to do next. Raises UsageError.
    """
    said = f"{whole.capitalize()} {path}"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{said} does not exist", *missing) from None
    except OSError as error:
        raise UsageError(f"{said} cannot be read", error.strerror or str(error), "check its rights") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{said} is not TOML", str(error), "mend the file at that place") from None


def from_mapping(values: Mapping[str, Any], default: T, whole: str, said: str = "") -> T:
    """Settings of the type of ``default``, a frozen dataclass that may nest others, from plain values.

    What the values are silent on has its default. ``whole``: what the settings are of, for messages (``recipe``);
    ``said``: how a message begins. Raises UsageError.
    """
    said = said or f"{whole.capitalize()} setting"
    _refuse_unknown(values, default, "", whole, said)
    try:
        return msgspec.convert(values, type(default))
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        where = place.strip("`").lstrip(".") or f"the {whole}"
        raise UsageError(f"{said} {where} does not fit", reason, _fitting(where.partition("[")[0], default)) from None


def to_mapping(settings: DataclassInstance) -> dict[str, Any]:
    """All settings as nested plain values (tuples as lists), defaults included."""
    plain: dict[str, Any] = msgspec.to_builtins(settings)
    return plain


def _refuse_unknown(values: Mapping[str, Any], like: Any, section: str, whole: str, said: str) -> None:
    known = {one.name: getattr(like, one.name) for one in fields(like)}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            below = [f"{name}.{key}" for name, one in known.items() if is_dataclass(one) and hasattr(one, key)]
            raise UsageError(
                f"{said} {section}{key} does not exist",
                f"{section.rstrip('.') or f'a {whole}'} has {', '.join(known)}",
                f"{section}{(below[-1:] or near or list(known))[0]}",
            )
        if is_dataclass(known[key]) and isinstance(value, Mapping):
            _refuse_unknown(value, known[key], f"{section}{key}.", whole, said)


def _fitting(setting: str, default: DataclassInstance) -> str:
    """The setting at a dotted place with its default, as one that would fit."""
    value: Any = to_mapping(default)
    for part in setting.split("."):
        value = value.get(part, {}) if isinstance(value, dict) else value
    return f"leave {setting} out" if value is None else f"{setting}={json.dumps(value)}"
