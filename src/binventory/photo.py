"""Bytes to upright RGB pixels, and the one function that fits a picture to a network's input.

Learning and counting both come through here, so a photo meets the network in the same shape on both roads.
Decoding is Pillow's; what this room adds is the refusals.
"""

from __future__ import annotations

import re
import struct
import warnings
from io import BytesIO
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from binventory.errors import PhotoError

Pixels = NDArray[np.uint8]
"""Upright RGB, uint8 [height, width, 3]."""

Fit = Literal["squash", "letterbox"]
"""How a picture fills the input: ``squash`` gives up its aspect, ``letterbox`` keeps it between grey bars."""

COMMON_SIDE = 320
"""Longer side in pixels to which every picture is first reduced, so that photos of any camera meet alike."""

MIN_SIDE = 8
"""The fewest pixels that a photo has on its shorter side."""

MAX_PIXELS = 100_000_000
MAX_PIXELS_WHOLE = 40_000_000
"""The most pixels of a format that has no reduced scales: decoding it takes less than a gibibyte."""

MAX_BYTES = 256 * 1024 * 1024
MAX_PARTS = 100_000
"""The most parts of a JPEG's header, or of a PNG, which Pillow reads one by one; cameras write some dozens."""

MAX_SCANS = 10_000
MAX_SCANNED = 2_000_000_000
"""The most pixels that the scans of a progressive JPEG go over together: each is a pass over the whole picture, in as
little as twelve bytes. Cameras and programs write about ten."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
"""By Pillow's names. MPO, in which some cameras hold two JPEGs, is opened as JPEG."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""Endings by which a folder's photos are found. What a file is, its bytes alone decide."""

ALIKE_BITS = 28
"""The most bits in which the ``likeness`` of two copies of one photo differs."""

_GREY = 128

# Pillow's plugins raise any of these on damaged files (warnings where -W error made them errors); every one means "no
# whole picture".
_DAMAGE = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, EOFError, struct.error, RuntimeError,
           OverflowError, ZeroDivisionError, AttributeError, Warning)  # fmt: skip

# What Pillow warns of (a size near its own limit, a broken EXIF tag) is either told as an error below or harmless.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(data: bytes, name: str = "the photo", at_least: int | None = COMMON_SIDE) -> Pixels:
    """Decode a photo of any of ``FORMATS``, sniffed from its bytes, to upright RGB.

    ``at_least``: the longer side in pixels that the caller needs; a JPEG is decoded at the smallest of its reduced
    scales that still has it (libjpeg's DCT scaling), which saves most of the work. None decodes at full size.

    Raises PhotoError for anything that does not give whole, finite, reasonably many pixels.
    """
    if not data:
        raise PhotoError(f"{name} is empty", "it holds no bytes", "take or copy the photo again")
    _refuse_parts(data, name)
    try:
        with Image.open(BytesIO(_open_ended(data)), formats=FORMATS) as image:
            jpeg = image.format in ("JPEG", "MPO")
            _refuse_size(image.size, MAX_PIXELS if jpeg else MAX_PIXELS_WHOLE, name)
            if jpeg and not _only_scan(data):
                _refuse_scans(data, image.size, name)
            if image.format == "PNG":
                _verify(data)
            if at_least is not None and jpeg:
                shrink = min(1.0, at_least / max(image.size))
                image.draft(None, (ceil(image.width * shrink), ceil(image.height * shrink)))
            image.load()
            return np.asarray(_rgb(_upright(image), name))
    except UnidentifiedImageError:
        raise PhotoError(
            f"{name} is not a photo", _what_it_looks_like(data), "give a JPEG, PNG, WebP, TIFF, BMP or GIF"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name, "its header says so many pixels", MAX_PIXELS) from None
    except PhotoError:
        raise
    except MemoryError:
        raise PhotoError(f"{name} does not fit into memory", "it is too large", "save it smaller") from None
    except _DAMAGE as error:
        why = "the file ends early" if "truncat" in str(error).lower() else f"it is damaged ({_first_line(error)})"
        raise PhotoError(f"{name} cannot be decoded", why, "take or copy the photo again") from None


def dimensions(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as stored, from the header alone; for bytes that ``decode`` has read."""
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        return image.size


def taken(data: bytes, name: str = "the photo") -> str:
    """When its camera says that it took the photo, as EXIF writes it: ``2026:11:30 09:15:00.25+01:00``, fraction and
    zone where the camera tells them. "" where it tells nothing or its EXIF is damaged.

    Raises PhotoError for a photo of so many parts that reading its header would take minutes.
    """
    _refuse_parts(data, name)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            exif = image.getexif()
            tags = {**exif, **exif.get_ifd(0x8769)}
        for when, fraction, zone in _CLOCKS:
            if text := _text(tags.get(when)):
                digits = _text(tags.get(fraction))
                return text + (f".{digits}" if digits.isdecimal() else "") + _text(tags.get(zone))
    except (*_DAMAGE, MemoryError, Image.DecompressionBombError):
        pass
    return ""


def fit(pixels: Pixels, height: int, width: int, how: Fit = "squash") -> Pixels:
    """Fit a picture to a network's input: uint8 [h, w, 3] to uint8 [height, width, 3].

    First the longer side is reduced to ``COMMON_SIDE`` with antialiasing where it is larger, whatever the input's
    size; then the picture is resized (bicubic, antialiased) to the input.

    Raises PhotoError unless ``pixels`` is a non-empty uint8 RGB array.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise PhotoError(
            "the array is not a picture",
            f"expected uint8 [height, width, 3] in RGB, got {pixels.dtype} {list(pixels.shape)}",
            "convert it before counting",
        )
    image = reduced(Image.fromarray(pixels))
    if how == "squash":
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    boxed = ImageOps.pad(image, (width, height), Image.Resampling.BICUBIC, color=(_GREY, _GREY, _GREY))
    return np.asarray(boxed)


def reduced(image: Image.Image, side: int = COMMON_SIDE) -> Image.Image:
    """The picture with its longer side at most ``side`` pixels, antialiased; unchanged where it is smaller."""
    longer = max(image.size)
    if longer <= side:
        return image
    width, height = (max(1, round(edge * side / longer)) for edge in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def lightened(data: bytes, name: str = "the photo") -> bytes:
    """The photo as a PNG of the picture to which ``fit`` first reduces it: another file, and the very same count.

    The same bytes come back where that picture would be too narrow to be read again. Raises PhotoError as ``decode``.
    """
    image = reduced(Image.fromarray(decode(data, name)))
    return data if min(image.size) < MIN_SIDE else png(np.asarray(image))


def png(pixels: Pixels) -> bytes:
    """A picture as PNG, every pixel as it is."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def likeness(pixels: Pixels) -> str:
    """A 256-bit perceptual hash, as 64 hex digits: which of a picture's 16 x 16 slowest cosine waves are strong.

    The picture is reduced to 64 x 64 in grey and the signs are taken against the median wave (pHash, Zauner 2010).
    Copies of one photo differ in up to 24 bits however they were reduced, squashed or compressed; a bin before and
    after a change rarely in fewer than 40, strangers in 66 and more.
    """
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((64, 64), Image.Resampling.BOX), dtype=np.float64)
    waves = _COSINES @ grey @ _COSINES.T
    waves[0, 0] = np.median(waves)  # the mean light tells nothing
    return np.packbits(waves > np.median(waves)).tobytes().hex()


def measured(pixels: Pixels) -> tuple[float, float, float]:
    """Brightness (mean) and contrast (standard deviation) of a picture's grey, 0..1, and its sharpness.

    Sharpness is the standard deviation of the Laplacian of the picture reduced to ``COMMON_SIDE``, in grey of 0..255
    (Pech-Pacheco et al. 2000): a blurred picture has few edges, and so has an empty one.
    """
    grey = np.asarray(reduced(Image.fromarray(pixels)).convert("L"), dtype=np.float32)
    inner = grey[1:-1, 1:-1]
    edges = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(grey.mean() / 255), float(grey.std() / 255), float(edges.std())


def alike(one: str, other: str) -> bool:
    """Whether two ``likeness`` hashes are of the same photo, allowing for reduction and compression."""
    return (int(one, 16) ^ int(other, 16)).bit_count() <= ALIKE_BITS


# EXIF 3.0, tags of time, fraction and zone: of taking, of digitising, of the file's last change.
_CLOCKS = ((0x9003, 0x9291, 0x9011), (0x9004, 0x9292, 0x9012), (0x0132, 0x9290, 0x9010))


def _text(tag: object) -> str:
    """An EXIF tag's text; "" where it is none, or blank as in a camera whose clock was never set."""
    return tag.strip(" \0:") if isinstance(tag, str) else ""


_COSINES = np.cos(np.pi / 64 * np.outer(np.arange(16), np.arange(64) + 0.5))


def _open_ended(data: bytes) -> bytes:
    """A JPEG of one sequential scan without its end marker, so that a decoder that runs out of data finds no end.

    libjpeg fills what is missing before an end marker with grey and only warns, which Pillow does not pass on; at a
    file's end it asks for more, and Pillow says "truncated". Anything else than such a JPEG comes back as it is.
    """
    start = _only_scan(data)
    end = _MARKER.search(data, start) if start else None
    return data[: end.start()] + _NO_CODE * 8 if end else data


# Ends a scan: any marker but a stuffed zero, a restart or a fill byte.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")

# libjpeg looks up to 8 bytes ahead. Ones are no code of any JPEG, so these bytes stand in for two blocks at most.
_NO_CODE = b"\xff\x00"


def _only_scan(data: bytes) -> int:
    """Where the coded data of a JPEG begin that has one sequential scan; 0 for anything else."""
    place, components = 2, None
    while data[:2] == b"\xff\xd8" and data[place : place + 1] == b"\xff" and place + 10 <= len(data):
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xDA:
            return place + 2 + length if data[place + 4] == components else 0
        if marker in (0xC0, 0xC1):
            components = data[place + 9]
        place += 1 if marker == 0xFF else 2 + length
    return 0


def _verify(data: bytes) -> None:
    """Hold a PNG's chunks against their checksums, which Pillow does only when asked, and on a file of its own."""
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        image.verify()


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says. Pillow's own turn also writes EXIF anew, which odd tags can break."""
    turn = _TURNS.get(image.getexif().get(0x0112, 1))
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion would clip, not scale
        wide = np.asarray(image).astype(np.int64)
        return Image.fromarray((np.clip(wide, 0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise PhotoError(f"{name} has floating-point pixels", "their range is unknown", "save it with 8 bits a channel")
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        paper = Image.new("RGBA", whole.size, "white")
        return Image.alpha_composite(paper, whole).convert("RGB")
    return image.convert("RGB")


def _refuse_parts(data: bytes, name: str) -> None:
    """Refuse a JPEG or PNG of so many parts that reading its header alone would take minutes."""
    steps = 0
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        place = 8
        while place + 12 <= len(data) and steps <= MAX_PARTS:
            place += 12 + int.from_bytes(data[place : place + 4], "big")
            steps += 1
    elif data[:2] == b"\xff\xd8":
        place = 2
        while place + 4 <= len(data) and steps <= MAX_PARTS:
            if data[place] != 0xFF:  # noise between parts, which is passed over byte by byte
                noise = data.find(b"\xff", place) - place
                place, steps = (place + noise, steps + noise) if noise > 0 else (len(data), steps + len(data) - place)
                continue
            marker = data[place + 1]
            if marker == 0xDA:
                return
            bare = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9  # such a marker has no part behind it
            place += 2 - (marker == 0xFF) if bare else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
            steps += 1
    if steps > MAX_PARTS:
        raise PhotoError(f"{name} cannot be decoded", f"it has more than {MAX_PARTS:,} parts", "save it anew")


def _refuse_scans(data: bytes, size: tuple[int, int], name: str) -> None:
    """Refuse a JPEG whose scans would keep the decoder busy for long."""
    most = min(MAX_SCANS, MAX_SCANNED // (size[0] * size[1]))
    place, scans = 2, 0
    while found := _MARKER.search(data, place):
        place = found.start()
        marker = data[place + 1]
        if marker == 0xD9:
            return
        scans += marker == 0xDA
        if scans > most:
            raise PhotoError(f"{name} cannot be decoded", f"it has more than {most:,} scans", "save it anew")
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")


def _refuse_size(size: tuple[int, int], most: int, name: str) -> None:
    width, height = size
    if width * height > most:
        raise _too_large(name, f"{width} x {height} pixels", most)
    if min(size) < MIN_SIDE:
        raise PhotoError(f"{name} is too small", f"it has {width} x {height} pixels", "give a photo of the whole bin")


def _too_large(name: str, what: str, most: int) -> PhotoError:
    return PhotoError(f"{name} is too large", f"{what}: more than {most // 1_000_000} million", "save it smaller")


def _what_it_looks_like(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:10] in (b"he", b"mi", b"ms", b"av"):
        return "it is HEIC or AVIF, which is not read here"
    if not data.strip(b"\0"):
        return "it holds nothing but zeros"
    printable = sum(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:512])
    return "it holds text" if printable > 0.95 * len(data[:512]) else "its bytes are of no format that is read here"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].strip().rstrip(".")[:120] or type(error).__name__
