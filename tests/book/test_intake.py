"""A photo finds its bin and its time, and says where it has them from; what cannot be is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from binventory import photo
from binventory.book import intake
from binventory.book.barcodes import Code
from binventory.book.intake import IntakeSettings, Placed
from binventory.errors import InputError
from binventory.records import Photo

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
FILE = datetime(2026, 11, 29, 8, tzinfo=UTC)
MORNING = datetime(2026, 11, 30, 9, 15, tzinfo=UTC)
DEFAULTS = IntakeSettings(pattern="{bin}/{*}.jpg", timezone="UTC")
KNOWN = frozenset({"K1"}).__contains__
"""Whether the book knows a bin."""


def found(
    name: str,
    settings: IntakeSettings = DEFAULTS,
    sidecar: object = None,
    exif: str = "",
    codes: Sequence[Code] = (),
    file_time: datetime | None = FILE,
) -> Placed | InputError:
    data = sidecar if isinstance(sidecar, bytes | None) else json.dumps(sidecar).encode()
    return intake.identified(settings, name, data, exif, lambda: codes, file_time, NOW, KNOWN)


def error(outcome: Placed | InputError) -> str:
    assert isinstance(outcome, InputError)
    return str(outcome)


def place(outcome: Placed | InputError) -> Placed:
    assert isinstance(outcome, Placed), outcome
    return outcome


def test_a_folder_for_each_bin_is_enough() -> None:
    assert found("A1/x.jpg") == Placed("A1", "path", FILE, "file")
    assert place(found("hall/A1/x.JPEG")).bin == "A1"


def test_a_clock_that_is_ahead_is_believed_up_to_now() -> None:
    ahead = NOW + timedelta(hours=20)
    assert found("A1/x.jpg", file_time=ahead) == Placed("A1", "path", NOW, "file")
    assert place(found("A1/x.jpg", sidecar={"time": ahead.isoformat()})).taken == NOW


def test_a_photo_in_no_folder_has_no_bin_by_its_path() -> None:
    assert error(found("x.jpg")) == (
        "x.jpg shows no known bin. No sidecar names one, its path is not like {bin}/{*}.jpg, no barcode in it names "
        "one, neither it nor its folder is called as a bin of the book is. Try: name it like {bin}/{*}.jpg."
    )


def test_sources_are_tried_in_order() -> None:
    codes = [("QRCode", "BIN-B1")]
    assert place(found("A1/x.jpg", sidecar={"bin": "S1"}, codes=codes)).bin_from == "sidecar"
    assert place(found("A1/x.jpg", sidecar={"other": 1}, codes=codes)).bin_from == "path"
    assert place(found("x.jpg", codes=codes)) == Placed("B1", "barcode", FILE, "file")
    barcode_first = IntakeSettings(bin=("barcode", "path"), pattern="{bin}/{*}.jpg", timezone="UTC")
    assert place(found("A1/x.jpg", barcode_first, {"bin": "S1"}, codes=codes)).bin == "B1"
    assert place(found("A1/x.jpg", barcode_first)).bin == "A1"


def test_barcodes_are_not_read_where_a_bin_is_known_before() -> None:
    def slow() -> Sequence[Code]:
        raise AssertionError("read for nothing")

    assert isinstance(intake.identified(DEFAULTS, "A1/x.jpg", None, "", slow, FILE, NOW, KNOWN), Placed)


@pytest.mark.parametrize(
    "code",
    [("EAN13", "4006381333931"), ("ITF", "BIN-A1"), ("Code128", "PALLET-1"), ("QRCode", "xBIN-A1"), ("QRCode", "BIN-")],
)
def test_codes_that_are_no_labels_of_bins_name_none(code: Code) -> None:
    assert "no barcode in it names one" in error(found("x.jpg", codes=[code]))
    assert place(found("x.jpg", codes=[code, ("DataMatrix", "BIN-A1")])).bin == "A1"


def test_which_codes_name_bins_is_the_sites_to_say() -> None:
    settings = IntakeSettings(barcode_formats=("Code39",), barcode_pattern="[A-Z][0-9]+", timezone="UTC")
    assert place(found("x.jpg", settings, codes=[("Code39", "A1"), ("QRCode", "B2")])).bin == "A1"


def test_two_bins_in_one_picture_are_none_and_both_are_named() -> None:
    codes = [("QRCode", "BIN-A1"), ("Code128", "BIN-B2"), ("QRCode", "BIN-B2")]
    assert "x.jpg shows two bins. Its barcodes name A1 and B2" in error(found("x.jpg", codes=codes))
    assert place(found("x.jpg", codes=[("QRCode", "BIN-A1"), ("Code128", "BIN-A1")])).bin == "A1"


@pytest.mark.parametrize("sidecar", [b"", b"{", b"[]", b"\xff", b'{"bin": ["A1"]}', b'{"bin": true}', b'"A1"',
                                     b"[" * 100_000])  # fmt: skip
def test_a_sidecar_that_cannot_be_read_ends_it(sidecar: bytes) -> None:
    assert "x.jpg has a sidecar that cannot be read" in error(found("A1/x.jpg", sidecar=sidecar))


@pytest.mark.parametrize(
    ("sidecar", "bin", "taken"),
    [
        ({"bin": "A1", "time": "2026-11-30T09:15:00Z"}, "A1", MORNING),
        ({"bin": " A1 ", "taken": "2026-11-30T10:15:00+01:00"}, "A1", MORNING),
        ({"bin": 17, "time": MORNING.timestamp()}, "17", MORNING),
        ({"bin": "A1", "time": int(MORNING.timestamp()), "camera": {"id": 4}}, "A1", MORNING),
    ],
)
def test_a_sidecar_tells_bin_and_time(sidecar: object, bin: str, taken: datetime) -> None:
    assert found("B1/x.jpg", sidecar=sidecar) == Placed(bin, "sidecar", taken, "sidecar")


@pytest.mark.parametrize("bin", ["", "  ", "a\nb", "a\x00b", "x" * 101, "\u202e1A", "caf\udce9"])
def test_a_name_that_is_none_is_passed_over(bin: str) -> None:
    assert intake.bin_name(bin) is None
    if bin.isascii():
        assert place(found("A1/x.jpg", sidecar={"bin": bin})).bin_from == "path"


@given(st.text(max_size=120))
def test_a_bins_name_is_the_same_once_it_is_one(text: str) -> None:
    name = intake.bin_name(text)
    if name is not None:
        assert 1 <= len(name) <= 100 and name.isprintable() and intake.bin_name(name) == name


def test_a_bin_in_another_form_of_unicode_is_the_same_bin() -> None:
    assert place(found("Lade u\u0308/x.jpg")).bin == place(found("Lade ü/x.jpg")).bin


@pytest.mark.parametrize(
    ("pattern", "name", "bin", "taken"),
    [
        ("{bin}/{time}.jpg", "A1/20261130T091500Z.jpg", "A1", MORNING),
        ("{bin}/{time}.jpg", "hall/A1/2026-11-30T09:15:00.png", "A1", MORNING),
        ("{bin}/{time}", "A1/1796030100.jpg", "A1", MORNING),
        ("{bin}/IMG_{time}.jpg", "A1/IMG_20261130_091500.jpg", "A1", MORNING),
        ("{bin}/{*}_{time}_{*}.jpg", "A1/cam7_20261130-091500_0001.jpg", "A1", MORNING),
        ("{bin}_{time}.jpg", "aisle_7_2026-11-30_09-15-00.jpg", "aisle_7", MORNING),
        ("{time}_{bin}.jpg", "2026-11-30 09.15.00_A1.jpg", "A1", MORNING),
        ("bins/{bin}/{*}/{*}.jpg", "cam/bins/A1/monday/7.jpg", "A1", None),
        ("{bin}/{time}.jpg", "A1/x.jpg", None, None),
        ("{bin}/{*}.jpg", "a/b/c/d.jpg", "c", None),
        ("(.+)/{bin}.jpg", "A1/x.jpg", None, None),
    ],
)
def test_a_pattern_reads_the_end_of_a_path(pattern: str, name: str, bin: str | None, taken: datetime | None) -> None:
    outcome = found(name, IntakeSettings(pattern=pattern, timezone="UTC"))
    if bin is None:
        assert "its path is not like" in error(outcome)
    else:
        assert place(outcome).bin == bin
        assert (place(outcome).taken, place(outcome).taken_from) == ((taken, "path") if taken else (FILE, "file"))


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("20261130091500", MORNING),
        ("20261130T0915", MORNING),
        ("2026-11-30T09:15:00.250Z", MORNING + timedelta(milliseconds=250)),
        ("20261130_091500250", MORNING + timedelta(milliseconds=250)),
        ("2026-11-30T10:15:00+01:00", MORNING),
        ("2026-11-30T03:45:00-0530", MORNING),
        ("2026:11:30 09:15:00", MORNING),
        ("1796030100", MORNING),
        ("1796030100250", MORNING + timedelta(milliseconds=250)),
        ("1796030100.25", MORNING + timedelta(milliseconds=250)),
        ("20261130-091500-0001", None),
        ("2026-11-30", None),
        ("20261330_091500", None),
        ("20261130_251500", None),
        ("0000:00:00 00:00:00", None),
        ("٢٠٢٦١١٣٠٠٩١٥٠٠", None),
        ("12345", None),
        ("", None),
    ],
)
def test_times_are_read_as_people_and_cameras_write_them(text: str, time: datetime | None) -> None:
    assert intake.time_of(text, UTC) == time


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))])))  # fmt: skip
def test_iso_times_come_back(at: datetime) -> None:
    assert intake.time_of(at.isoformat(), None) == at
    assert intake.time_of(at.strftime("%Y%m%dT%H%M%S.%f%z"), None) == at


@given(st.text(alphabet="0123456789-:T._ +Z", max_size=30))
def test_any_text_is_a_time_in_utc_or_none(text: str) -> None:
    at = intake.time_of(text, None)
    assert at is None or at.tzinfo is UTC


def test_a_time_without_zone_is_the_sites() -> None:
    berlin = IntakeSettings(pattern="{bin}/{*}.jpg", timezone="Europe/Berlin")
    assert place(found("A1/x.jpg", berlin, exif="2026:11:30 10:15:00")).taken == MORNING
    assert place(found("A1/x.jpg", berlin, exif="2026:11:30 09:15:00+00:00")).taken == MORNING
    assert place(found("A1/x.jpg", berlin, {"time": "2026-11-30T10:15"})).taken == MORNING


@pytest.mark.parametrize("wrong", ["1980:01:01 00:00:00", "2026:12:02 09:15:00", "    :  :     :  :  "])
def test_a_time_that_cannot_be_is_passed_over(wrong: str) -> None:
    assert place(found("A1/x.jpg", exif=wrong)).taken_from == "file"
    assert place(found("A1/x.jpg", exif="2026:12:01 09:15:00")).taken_from == "exif"
    told = error(found("A1/x.jpg", exif="1980:01:01 00:00:00", file_time=datetime(1970, 1, 1, tzinfo=UTC)))
    assert "has no time. Its exif says 1980-01-01, which cannot be, its file says 1970-01-01" in told


def test_a_bin_that_a_person_names_wins() -> None:
    outcome = intake.identified(DEFAULTS, "A1/x.jpg", b'{"bin": "S1"}', "", lambda: (), FILE, NOW, KNOWN, given="G1")
    assert (place(outcome).bin, place(outcome).bin_from) == ("G1", "given")
    assert "names no bin" in error(
        intake.identified(DEFAULTS, "x.jpg", None, "", lambda: (), FILE, NOW, KNOWN, given=" ")
    )


def jpeg(tags: dict[int, str] | None = None, first: dict[int, str] | None = None) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update(tags or {})
    exif.update(first or {})
    buffer = BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_a_cameras_time_has_its_fraction_and_zone() -> None:
    whole = jpeg({0x9003: "2026:11:30 10:15:00", 0x9291: "25", 0x9011: "+01:00"}, {0x0132: "2026:11:30 11:00:00"})
    assert intake.time_of(photo.taken(whole), None) == MORNING + timedelta(milliseconds=250)
    assert photo.taken(jpeg(first={0x0132: "2026:11:30 11:00:00"})) == "2026:11:30 11:00:00"
    assert photo.taken(jpeg()) == photo.taken(b"no photo") == photo.taken(whole[:60]) == ""


def test_a_photo_on_disk_is_placed_by_what_lies_beside_it(tmp_path: Path) -> None:
    data = jpeg()
    (tmp_path / "A1").mkdir()
    (tmp_path / "A1" / "x.jpg").write_bytes(data)
    os.utime(tmp_path / "A1" / "x.jpg", (FILE.timestamp(),) * 2)
    one = Photo("A1/x.jpg", data)
    assert intake.placed(DEFAULTS, one, KNOWN, str(tmp_path)) == Placed("A1", "path", FILE, "file")
    (tmp_path / "A1" / "x.json").write_text('{"bin": "S1"}')
    assert place(intake.placed(DEFAULTS, one, KNOWN, str(tmp_path))).bin == "S1"
    (tmp_path / "A1" / "x.jpg.json").write_text('{"bin": "S2"}')
    assert place(intake.placed(DEFAULTS, one, KNOWN, str(tmp_path))).bin == "S2"


def test_a_sidecar_that_is_a_link_or_a_pipe_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text('{"bin": "S1"}')
    (tmp_path / "A1").mkdir()
    (tmp_path / "A1" / "x.json").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(tmp_path / "A1" / "x.jpg.json")
    assert place(intake.placed(DEFAULTS, Photo("A1/x.jpg", jpeg()), KNOWN, str(tmp_path))).bin == "A1"


def test_what_lies_in_no_file_comes_now() -> None:
    outcome = place(intake.placed(DEFAULTS, Photo("-", jpeg(), bin="A1"), KNOWN))
    assert abs(outcome.taken - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("name", ["K1.jpg", "00/K1.jpg", "K1/IMG_2041.jpg", "deep/K1/IMG_2041.jpg"])
def test_a_photo_called_as_a_bin_of_the_book_or_in_a_folder_called_so_is_of_that_bin(name: str) -> None:
    placed = place(found(name, IntakeSettings(timezone="UTC")))
    assert (placed.bin, placed.bin_from) == ("K1", "name")


@pytest.mark.parametrize("name", ["IMG_2041.jpg", "A1/x.jpg", "K1/deep/x.jpg", "k1.jpg"])
def test_no_name_makes_a_bin_that_the_book_does_not_know(name: str) -> None:
    assert "shows no known bin" in error(found(name, IntakeSettings(timezone="UTC")))


def test_by_default_a_folder_is_a_bin_where_the_photo_is_called_by_its_time() -> None:
    placed = place(found("A1/20261130T091500Z.jpg", IntakeSettings(timezone="UTC")))
    assert placed == Placed("A1", "path", MORNING, "path")
