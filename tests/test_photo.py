"""Whole, upright pixels of whatever a camera or phone sends, and one clear sentence for everything else."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from binventory import photo
from binventory.data.drawn import draw_one
from binventory.errors import PhotoError
from binventory.photo import Pixels

pytestmark = pytest.mark.timeout(60)


def saved(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    into = BytesIO()
    image.save(into, format, **options)
    return into.getvalue()


@cache
def drawn(number: int) -> bytes:
    return draw_one(number, seed=5).jpeg


@cache
def scene(number: int = 1, width: int = 160, height: int = 96) -> Image.Image:
    """A drawn bin, small."""
    return Image.open(BytesIO(drawn(number))).convert("RGB").resize((width, height))


def difference(one: Pixels, other: Pixels) -> float:
    """The mean absolute difference of two pictures of one size."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def grey(values: Any) -> Pixels:
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


# What is read


@pytest.mark.parametrize(
    ("format", "options", "most"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_deflate"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 6),
        ("GIF", {}, 8),
        ("JPEG", {"quality": 95}, 4),
        ("JPEG", {"quality": 95, "progressive": True}, 4),
        ("JPEG", {"quality": 95, "subsampling": 0}, 4),
        ("JPEG", {"quality": 95, "subsampling": 1}, 4),
        ("JPEG", {"quality": 95, "restart_marker_rows": 1}, 4),
        ("JPEG", {"quality": 95, "comment": b"\xff\xd9 \xff\xda \xff\xc0"}, 4),
        ("MPO", {"quality": 95, "save_all": True, "append_images": [Image.new("RGB", (40, 40))]}, 4),
    ],
)
def test_every_format_gives_its_pixels(format: str, options: dict[str, Any], most: float) -> None:
    pixels = photo.decode(saved(scene(), format, **options))
    assert pixels.dtype == np.uint8
    assert difference(pixels, np.asarray(scene())) <= most


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG"])
def test_the_first_photo_of_a_process_may_be_of_any_format(format: str) -> None:
    """Pillow loads its formats one by one, so only a fresh process tells."""
    script = "import sys; from binventory import photo; print(photo.decode(sys.stdin.buffer.read()).shape)"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], input=saved(scene(), format), capture_output=True, check=False
    )
    assert run.stdout.decode() == "(96, 160, 3)\n", run.stderr.decode()


def test_the_name_says_nothing_the_bytes_say_all() -> None:
    assert difference(photo.decode(saved(scene(), "PNG"), "bin.jpg"), np.asarray(scene())) == 0


def test_the_first_picture_of_an_animation_counts() -> None:
    frames = {"save_all": True, "append_images": [Image.new("RGB", scene().size, "red")], "duration": 100}
    for format, options in (("GIF", frames), ("WEBP", frames | {"lossless": True}), ("PNG", frames)):
        assert difference(photo.decode(saved(scene(), format, **options)), np.asarray(scene())) < 8


TURNS: dict[int, Callable[[Pixels], Any]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_a_camera_held_any_way_gives_the_same_upright_pixels(orientation: int, format: str) -> None:
    upright = np.asarray(scene())
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 98, "subsampling": 0} if format == "JPEG" else {}
    stored = Image.fromarray(np.ascontiguousarray(TURNS[orientation](upright)))
    lossless = {"lossless": True} if format == "WEBP" else {}
    pixels = photo.decode(saved(stored, format, exif=exif, **options, **lossless))
    assert difference(pixels, upright) < 3


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert difference(photo.decode(saved(scene(), "PNG", exif=exif)), np.asarray(scene())) == 0


def test_damaged_exif_takes_no_photo_away() -> None:
    """Whatever one of its bytes becomes: the pixels as stored, or turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker of cameras"
    exif[0x011A] = 72.0
    whole = saved(scene(), "JPEG", exif=exif)
    stored = photo.decode(saved(scene(), "JPEG"))
    places = range(whole.index(b"Exif\0\0") + 6, whole.index(b"\xff\xdb"))
    with pytest.warns() as _:  # what Pillow warns of is no error here, and told to nobody elsewhere
        for place in places:
            for value in (0, 1, 2, 7, 12, 255):
                pixels = photo.decode(whole[:place] + bytes([value]) + whole[place + 1 :])
                assert sorted(pixels.shape) == sorted(stored.shape)


# What pixels become


def test_grey_is_grey() -> None:
    image = scene().convert("L")
    assert difference(photo.decode(saved(image)), grey(image)) == 0


def test_a_palette_gives_its_colours() -> None:
    image = scene().quantize(32)
    assert difference(photo.decode(saved(image)), np.asarray(image.convert("RGB"))) == 0


def test_one_bit_gives_black_and_white() -> None:
    image = scene().convert("1")
    assert difference(photo.decode(saved(image)), grey(np.asarray(image) * 255)) == 0
    assert set(np.unique(photo.decode(saved(image, "TIFF")))) == {0, 255}


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    for format in ("PNG", "TIFF"):
        assert difference(photo.decode(saved(Image.fromarray(ramp), format)), grey(ramp >> 8)) == 0


def test_a_print_shops_jpeg_gives_its_colours() -> None:
    image = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    pixels = photo.decode(saved(image, "JPEG", quality=95))
    assert difference(pixels, np.full((64, 64, 3), (255, 0, 0), np.uint8)) < 4


def clear(mode: str, value: Any) -> Image.Image:
    return Image.new(mode, (32, 32), value)


@pytest.mark.parametrize(
    ("image", "options", "colour"),
    [
        pytest.param(clear("RGBA", (9, 9, 9, 0)), {}, (255, 255, 255), id="clear RGBA"),
        pytest.param(clear("RGBA", (0, 0, 0, 128)), {}, (127, 127, 127), id="half clear RGBA"),
        pytest.param(clear("RGBA", (9, 8, 7, 255)), {}, (9, 8, 7), id="full RGBA"),
        pytest.param(clear("LA", (0, 0)), {}, (255, 255, 255), id="clear LA"),
        pytest.param(clear("LA", (50, 255)), {}, (50, 50, 50), id="full LA"),
        pytest.param(clear("P", 0), {"transparency": 0}, (255, 255, 255), id="clear palette entry"),
        pytest.param(clear("P", 0), {"transparency": b"\x00\xff"}, (255, 255, 255), id="clear palette bytes"),
        pytest.param(clear("RGB", (1, 2, 3)), {"transparency": (1, 2, 3)}, (255, 255, 255), id="clear RGB colour"),
        pytest.param(clear("L", 7), {"transparency": 7}, (255, 255, 255), id="clear grey"),
        pytest.param(clear("L", 7), {"transparency": 8}, (7, 7, 7), id="another grey is clear"),
    ],
)
def test_what_is_clear_lies_over_white(
    image: Image.Image, options: dict[str, Any], colour: tuple[int, int, int]
) -> None:
    pixels = photo.decode(saved(image, "PNG", **options))
    assert difference(pixels, np.full((32, 32, 3), colour, np.uint8)) <= 1


# Decoding small


@given(st.integers(8, 1200), st.integers(8, 1200), st.integers(8, 1000))
@settings(max_examples=40)
def test_a_jpeg_is_never_decoded_smaller_than_asked(width: int, height: int, at_least: int) -> None:
    data = saved(Image.new("RGB", (width, height)), "JPEG")
    pixels = photo.decode(data, at_least=at_least)
    assert max(pixels.shape) >= min(at_least, max(width, height))
    assert photo.dimensions(data) == (width, height)
    assert photo.decode(data, at_least=None).shape == (height, width, 3)


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_photo_decoded_small_meets_the_network_like_one_decoded_whole(number: int, options: dict[str, Any]) -> None:
    large = saved(scene(number, 2400, 1440), "JPEG", quality=90, **options)
    small = photo.decode(large)
    assert max(small.shape) < 2400
    for how in ("squash", "letterbox"):
        whole = photo.fit(photo.decode(large, at_least=None), 224, 224, how)
        assert difference(photo.fit(small, 224, 224, how), whole) < 2


# What is refused


def outcome(data: bytes, name: str = "bin.jpg", **options: Any) -> Pixels | PhotoError:
    """Pixels or the error; anything else fails the test."""
    try:
        pixels = photo.decode(data, name, **options)
    except PhotoError as error:
        assert error.what
        assert error.next
        assert name in error.what
        assert "\n" not in str(error)
        return error
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    return pixels


CUT = {
    "baseline JPEG": saved(scene(1, 96, 64), "JPEG"),
    "JPEG of full colour": saved(scene(1, 96, 64), "JPEG", subsampling=0),
    "grey JPEG": saved(scene(1, 96, 64).convert("L"), "JPEG"),
    "JPEG with restarts": saved(scene(1, 96, 64), "JPEG", restart_marker_rows=1),
    "progressive JPEG": saved(scene(1, 96, 64), "JPEG", progressive=True),
    "PNG": saved(scene(1, 48, 32)),
    "PNG with a palette": saved(scene(1, 96, 64).quantize(16)),
    "WebP": saved(scene(1, 96, 64), "WEBP"),
    "BMP": saved(scene(1, 24, 16), "BMP"),
    "TIFF": saved(scene(1, 24, 16), "TIFF"),
    "packed TIFF": saved(scene(1, 48, 32), "TIFF", compression="tiff_lzw"),
    "GIF": saved(scene(1, 96, 64), "GIF"),
}


@pytest.mark.parametrize("kind", CUT)
@pytest.mark.parametrize("at_least", [320, 16])
def test_a_file_cut_anywhere_is_refused_or_still_whole(kind: str, at_least: int) -> None:
    whole = photo.decode(CUT[kind], at_least=at_least)
    refused = 0
    for length in range(len(CUT[kind])):
        result = outcome(CUT[kind][:length], at_least=at_least)
        if isinstance(result, PhotoError):
            refused += 1
        else:
            assert np.array_equal(result, whole), f"half a picture from {length} of {len(CUT[kind])} bytes"
    assert refused > 0.9 * len(CUT[kind])


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"optimize": True}, {"mode": "L"}, {"mode": "CMYK"}])
def test_a_jpeg_that_lost_its_middle_is_refused(options: dict[str, Any]) -> None:
    """Its end marker is there; libjpeg would fill what it misses with grey."""
    options = dict(options)
    image = Image.open(BytesIO(drawn(2))).convert(options.pop("mode", "RGB"))
    whole = saved(image, "JPEG", **options)
    start = whole.index(b"\xff\xda") + 14
    chance = random.Random(1)
    for _ in range(40):
        lost = chance.randint(len(whole) // 20, len(whole) // 2)
        place = chance.randint(start, len(whole) - 2 - lost)
        assert isinstance(outcome(whole[:place] + whole[place + lost :]), PhotoError), (place, lost)


def test_bytes_after_a_photos_end_do_no_harm() -> None:
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        whole = saved(scene(), format)
        assert np.array_equal(photo.decode(whole + b"\0" * 1000), photo.decode(whole))
        assert np.array_equal(photo.decode(whole + drawn(3)), photo.decode(whole))


def test_a_png_with_a_wrong_bit_is_refused_or_still_whole() -> None:
    data = saved(scene(1, 64, 48), compress_level=1)
    whole = photo.decode(data)
    for place in range(len(data)):
        result = outcome(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        assert isinstance(result, PhotoError) or np.array_equal(result, whole), place


@given(
    kind=st.sampled_from(sorted(CUT)),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4), st.integers(0, 6)), max_size=4),
)
@settings(max_examples=400)
def test_a_damaged_photo_gives_pixels_or_one_sentence(kind: str, edits: list[tuple[float, bytes, int]]) -> None:
    data = CUT[kind]
    for place, put, over in edits:
        at = int(place * place * len(data))  # headers more often than pixels
        data = data[:at] + put + data[at + over :]
    outcome(data)


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_give_pixels_or_one_sentence(data: bytes) -> None:
    outcome(data)
    for head in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF\x10\0\0\0WEBPVP8 "):
        outcome(head + data)


@pytest.mark.parametrize(
    ("data", "what", "next"),
    [
        pytest.param(b"", "is empty. It holds no bytes", "take or copy", id="nothing"),
        pytest.param(bytes(5000), "is not a photo. It holds nothing but zeros", "give a JPEG", id="zeros"),
        pytest.param(b"bin,count\n1,2\n" * 9, "is not a photo. It holds text", "give a JPEG", id="text"),
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is not a photo. It is HEIC", "give a JPEG", id="HEIC"),
        pytest.param(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "is not a photo. It is HEIC or AVIF", "JPEG", id="AVIF"),
        pytest.param(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3" + bytes(range(256)), "is not a photo", "give a JPEG", id="PDF"),
        pytest.param(random.Random(1).randbytes(3000), "is not a photo. Its bytes are", "give a JPEG", id="noise"),
        pytest.param(saved(scene(), "JPEG")[:-500], "cannot be decoded. The file ends early", "copy", id="cut JPEG"),
        pytest.param(saved(scene(), "PNG")[:-500], "cannot be decoded. The file ends early", "copy", id="cut PNG"),
        pytest.param(saved(scene(1, 7, 300)), "is too small. It has 7 x 300", "the whole bin", id="a strip"),
        pytest.param(saved(scene(1, 1, 1)), "is too small. It has 1 x 1", "the whole bin", id="a dot"),
        pytest.param(
            saved(Image.new("F", (64, 64)), "TIFF"), "has floating-point pixels", "8 bits", id="floating point"
        ),
    ],
)
def test_what_is_no_photo_is_told_by_name_and_next_step(data: bytes, what: str, next: str) -> None:
    with pytest.raises(PhotoError) as told:
        photo.decode(data, "shelf/bin 7.jpg")
    assert str(told.value).startswith(f"shelf/bin 7.jpg {what}")
    assert next in told.value.next


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(kind: str, side: int) -> bytes:
    """A small file whose header says side x side pixels."""
    if kind == "PNG":
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        zeros = zlib.compress(bytes(1_000_000))
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zeros) + chunk(b"IEND", b"")
    if kind == "BMP":
        return b"BM" + struct.pack("<IHHI IiiHHIIiiII", 54, 0, 0, 54, 40, side, side, 1, 24, *[0] * 6)
    if kind == "GIF":
        place = struct.pack("<HHHH", 0, 0, side, side)
        return b"GIF89a" + struct.pack("<HH", 20, 20) + b"\0\0\0," + place + b"\0\x02\x02\x4c\x01\0;"
    if kind == "WebP":
        still = saved(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]
        canvas = b"VP8X" + struct.pack("<II", 10, 0) + (min(side, 16383) - 1).to_bytes(3, "little") * 2
        return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(still)) + b"WEBP" + canvas + still
    if kind == "TIFF":
        data = saved(Image.new("L", (64, 64)), "TIFF")
        for tag in (256, 257):
            data = data.replace(struct.pack("<HHIHH", tag, 4, 1, 64, 0), struct.pack("<HHII", tag, 4, 1, side))
        return data
    data = saved(Image.new("RGB", (64, 64)), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]


BOMBS = [("PNG", 60_000), ("BMP", 60_000), ("GIF", 60_000), ("WebP", 16_383), ("TIFF", 60_000), ("JPEG", 60_000),
         ("PNG", 13_000), ("JPEG", 13_000), ("BMP", 13_000), ("PNG", 2_000_000_000)]  # fmt: skip


@pytest.mark.parametrize(("kind", "side"), BOMBS)
@pytest.mark.timeout(5)
def test_a_header_that_says_too_much_is_refused(kind: str, side: int) -> None:
    error = outcome(bomb(kind, side))
    assert isinstance(error, PhotoError)
    assert "too large" in error.what or side > 1_000_000


def test_headers_that_say_too_much_take_no_memory(tmp_path: Any) -> None:
    for number, (kind, side) in enumerate(BOMBS):
        (tmp_path / f"{number}.jpg").write_bytes(bomb(kind, side))
    (tmp_path / "good.jpg").write_bytes(drawn(1))
    (tmp_path / "good.tif").write_bytes(saved(scene(), "TIFF"))
    script = """if True:
        import resource, sys, pathlib
        from binventory import errors, photo
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        folder = pathlib.Path(sys.argv[1])
        for file in sorted(folder.glob("good.*")):
            photo.decode(file.read_bytes())
        before = peak()
        for file in sorted(folder.glob("[0-9]*.jpg")):
            try:
                photo.decode(file.read_bytes())
            except errors.PhotoError:
                continue
            sys.exit(f"{file} was decoded")
        print(peak() - before)
    """
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False, timeout=50
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    kibibytes = int(run.stdout) // (1024 if sys.platform == "darwin" else 1)
    assert kibibytes < 64 * 1024


# Fitting


@pytest.mark.parametrize("how", ["squash", "letterbox"])
@pytest.mark.parametrize("size", [(224, 224), (96, 320), (320, 96), (8, 8)])
@pytest.mark.parametrize("shape", [(100, 200), (200, 100), (363, 598), (8, 4000), (4000, 8), (1, 1), (224, 224)])
def test_any_picture_fits_any_input(how: photo.Fit, size: tuple[int, int], shape: tuple[int, int]) -> None:
    fitted = photo.fit(np.full((*shape, 3), 200, np.uint8), *size, how)
    assert fitted.shape == (*size, 3)
    assert fitted.dtype == np.uint8


def test_squash_fills_the_input_and_letterbox_keeps_the_aspect() -> None:
    wide = np.full((100, 200, 3), 255, np.uint8)
    assert (photo.fit(wide, 64, 64, "squash") == 255).all()
    boxed = photo.fit(wide, 64, 64, "letterbox")
    assert (boxed[16:48] == 255).all()
    assert (boxed[:16] == 128).all()
    assert (boxed[48:] == 128).all()
    upright = photo.fit(wide.transpose(1, 0, 2), 64, 64, "letterbox")
    assert np.array_equal(upright, boxed.transpose(1, 0, 2))


@pytest.mark.parametrize("how", ["squash", "letterbox"])
@pytest.mark.parametrize("number", range(1, 6))
def test_a_larger_camera_gives_nearly_the_same_input(number: int, how: photo.Fit) -> None:
    large = np.asarray(scene(number, 960, 576))
    common = np.asarray(photo.reduced(scene(number, 960, 576)))
    assert common.shape == (192, 320, 3)
    assert difference(photo.fit(large, 224, 224, how), photo.fit(common, 224, 224, how)) < 0.5
    assert difference(photo.fit(large, 512, 512, how), photo.fit(common, 512, 512, how)) < 0.5


def test_fine_patterns_are_averaged_away_not_aliased() -> None:
    stripes = grey(np.tile([0, 255], (960, 480)))
    fitted = photo.fit(stripes, 224, 224)
    assert np.abs(fitted.astype(int) - 127).max() < 12


def test_a_small_picture_is_not_reduced_first() -> None:
    assert photo.reduced(scene()) is scene()
    assert photo.reduced(scene(), 80).size == (80, 48)
    assert photo.reduced(Image.new("RGB", (5000, 9))).size == (320, 1)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((1, 10, 10, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_picture_is_refused(array: Any) -> None:
    with pytest.raises(PhotoError, match=r"Expected uint8 \[height, width, 3\]"):
        photo.fit(array, 224, 224)


def test_a_picture_that_is_a_view_fits_as_its_copy_does() -> None:
    pixels = np.asarray(scene())
    for view in (pixels[:, ::-1], pixels[::2], pixels.transpose(1, 0, 2)):
        assert np.array_equal(photo.fit(view, 64, 64), photo.fit(view.copy(), 64, 64))


# Likeness


@pytest.mark.parametrize("number", range(1, 11))
def test_a_photo_is_like_itself_reduced_and_compressed(number: int) -> None:
    image = Image.open(BytesIO(drawn(number)))
    here = photo.likeness(photo.decode(drawn(number)))
    assert photo.alike(here, photo.likeness(photo.decode(drawn(number), at_least=None)))
    for scale in (0.8, 0.5, 0.25):
        small = image.resize((int(image.width * scale), int(image.height * scale)))
        assert photo.alike(here, photo.likeness(np.asarray(small)))
        for quality in (85, 40):
            assert photo.alike(here, photo.likeness(photo.decode(saved(small, "JPEG", quality=quality))))


def test_different_bins_are_seldom_alike() -> None:
    """Every third bin is its predecessor with little changed, so strangers are taken far apart."""
    hashes = [photo.likeness(photo.decode(drawn(number))) for number in range(1, 41)]
    pairs = [(one, other) for at, one in enumerate(hashes) for other in hashes[at + 5 :]]
    assert sum(photo.alike(one, other) for one, other in pairs) / len(pairs) < 0.01
    assert len(set(hashes)) == len(hashes)
