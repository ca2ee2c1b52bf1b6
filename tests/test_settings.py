"""Settings out of TOML are typed, frozen, and say where they are wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta

from binventory import settings
from binventory.errors import UsageError


@dataclass(frozen=True, slots=True)
class Lamp:
    watts: Annotated[float, Meta(gt=0)] = 60.0
    name: str | None = None


@dataclass(frozen=True, slots=True)
class House:
    rooms: int = 3
    lamp: Lamp = field(default_factory=Lamp)


def test_what_is_left_out_has_its_default() -> None:
    assert settings.from_mapping({"lamp": {"watts": 5}}, House(), "house") == House(3, Lamp(5.0))
    assert settings.from_mapping({}, House(), "house") == House()


def test_settings_as_plain_values_come_back_the_same() -> None:
    made = House(4, Lamp(7.5, "desk"))
    assert settings.from_mapping(settings.to_mapping(made), House(), "house") == made


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"roms": 1}, "House setting roms does not exist. A house has rooms, lamp. Try: rooms."),
        ({"watts": 1}, "House setting watts does not exist. A house has rooms, lamp. Try: lamp.watts."),
        ({"lamp": {"wats": 1}}, "House setting lamp.wats does not exist. Lamp has watts, name. Try: lamp.watts."),
        ({"lamp": {"watts": 0}}, "House setting lamp.watts does not fit. "
                                 "Expected `float` > 0.0. Try: lamp.watts=60.0."),
        ({"lamp": {"name": 7}}, "House setting lamp.name does not fit. "
                                "Expected `str | null`, got `int`. Try: leave lamp.name out."),
    ],
)  # fmt: skip
def test_a_message_names_the_setting_and_one_that_fits(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as told:
        settings.from_mapping(values, House(), "house")
    assert str(told.value) == message


def test_a_message_can_begin_with_the_file() -> None:
    with pytest.raises(UsageError, match=r"^In a\.toml, setting roms does not exist"):
        settings.from_mapping({"roms": 1}, House(), "house", "In a.toml, setting")


@pytest.mark.parametrize("content", [b"a = ", b"\xff", b"a = " + b"[" * 100_000])
def test_a_file_that_is_not_toml_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"House .*a\.toml is not TOML"):
        settings.read_toml(file, "house", ("it is gone", "draw one"))


def test_a_file_that_is_missing_is_told_in_the_words_of_who_asks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml does not exist\. It is gone\. Try: draw one"):
        settings.read_toml(tmp_path / "none.toml", "house", ("it is gone", "draw one"))
    with pytest.raises(UsageError, match="cannot be read"):
        settings.read_toml(tmp_path, "house", ("", ""))
