"""What a service takes: a request held against botocore's own model of it, before anything is sent.

boto3 checks what is required, unknown, of a wrong type or below a minimum. The service's model also states maxima,
enumerations and patterns; a request that breaks those is refused only by AWS, after the upload. Here all of it is
held, without a network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from binventory.errors import InputError


@lru_cache(maxsize=8)
def model(service: str) -> Any:
    """botocore's model of a service (``sagemaker``, ``logs`` …)."""
    from botocore.session import get_session

    return get_session().get_service_model(service)


def refuse(service: str, operation: str, request: Mapping[str, Any], what: str) -> None:
    """Raise InputError, ``what`` first, where a request breaks the service's model: the first place, and how."""
    for place, problem in problems(service, operation, request):
        raise InputError(what, f"SageMaker would refuse {place}: {problem}", "correct that value")


def problems(service: str, operation: str, request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every place of a request that breaks the model of its operation (``CreateTrainingJob``), and how."""
    shape = model(service).operation_model(operation).input_shape
    if shape is not None:
        yield from _held(request, shape, "")


def _held(value: Any, shape: Any, place: str) -> Iterator[tuple[str, str]]:
    kind = shape.type_name
    if not isinstance(value, _TYPES.get(kind, object)) or (isinstance(value, bool) and kind != "boolean"):
        yield place, f"{type(value).__name__} where {kind} belongs"
        return
    yield from _bounded(value, shape, place)
    if kind == "structure":
        for name in shape.required_members:
            if name not in value:
                yield f"{place}.{name}".lstrip("."), "it is required"
        for name, one in value.items():
            inner = f"{place}.{name}".lstrip(".")
            if name in shape.members:
                yield from _held(one, shape.members[name], inner)
            else:
                yield inner, f"there is no such member, but {', '.join(shape.members)}"
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            yield place, f"one of {', '.join(shape.members)} belongs there, not {len(value)}"
    elif kind == "list":
        for number, one in enumerate(value):
            yield from _held(one, shape.member, f"{place}[{number}]")
    elif kind == "map":
        for key, one in value.items():
            yield from _held(key, shape.key, f"{place}'s key {key!r}")
            yield from _held(one, shape.value, f"{place}[{key!r}]")


_TYPES: dict[str, Any] = {
    "structure": Mapping, "list": (list, tuple), "map": Mapping, "string": str, "boolean": bool,
    "integer": int, "long": int, "float": (int, float), "double": (int, float),
    "timestamp": (datetime, int, float, str), "blob": (bytes, bytearray, str),
}  # fmt: skip
_LONG_ENUM = 12


def _bounded(value: Any, shape: Any, place: str) -> Iterator[tuple[str, str]]:
    rules = shape.metadata
    size = len(value) if hasattr(value, "__len__") else value
    unit = "characters" if isinstance(value, str) else "entries" if hasattr(value, "__len__") else ""
    if "min" in rules and size < rules["min"]:
        yield place, f"{size} {unit}".strip() + f", at least {rules['min']}"
    if "max" in rules and size > rules["max"]:
        yield place, f"{size} {unit}".strip() + f", at most {rules['max']}"
    if isinstance(value, str):
        enum = rules.get("enum")
        if enum and value not in enum:
            few = (
                [one for one in enum if one.split(".")[:2] == value.split(".")[:2]] if len(enum) > _LONG_ENUM else enum
            )
            yield place, f"{value!r} is not one of {', '.join(few[:_LONG_ENUM]) or f'the {len(enum)} that there are'}"
        pattern = rules.get("pattern")
        if pattern and not _compiled(pattern).fullmatch(value):
            yield place, f"{value!r} does not match {pattern}"


# Java's classes of Unicode, as near as Python's own expressions come; \w also takes the underscore.
_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{M}": "\u0300-\u036f", r"\p{Alnum}": "A-Za-z0-9"}


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in _CLASSES.items():
        pattern = pattern.replace(java, python)
    try:
        return re.compile(pattern)
    except re.error:  # a few patterns of services that we do not use
        return re.compile(".*", re.DOTALL)
