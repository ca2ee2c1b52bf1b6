"""A stand-in for torchvision, for tests only: the modules that timm imports, and in them any name, for an empty class.

Nothing that Binventory asks of timm uses them. What would use one fails: an empty class takes no arguments.
"""

from __future__ import annotations

import enum
import sys
from types import ModuleType

__version__ = "0.0.0+stub"


class InterpolationMode(enum.Enum):
    """timm fills a table with these when it is imported."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


class _Names(ModuleType):
    InterpolationMode = InterpolationMode

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for _path in ("datasets", "models", "models.feature_extraction", "ops", "ops.misc", "transforms",
              "transforms.functional"):  # fmt: skip
    _module = sys.modules[f"{__name__}.{_path}"] = _Names(f"{__name__}.{_path}")
    _parent, _, _name = _module.__name__.rpartition(".")
    setattr(sys.modules[_parent], _name, _module)
