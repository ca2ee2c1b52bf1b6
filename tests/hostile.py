"""Files that no camera would send: damaged, mislabelled and hostile, made from drawn photos, the same each time."""

from __future__ import annotations

import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from binventory.data.drawn import draw_one

Named = tuple[str, bytes]


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    into = BytesIO()
    # Copies, since Pillow notes a format's settings on the pictures that it saves, and trips over them in the next.
    more = {"append_images": [one.copy() for one in options["append_images"]]} if "append_images" in options else {}
    image.copy().save(into, format, **options | more)
    return into.getvalue()


def wholes() -> dict[str, bytes]:
    """Whole photos in everything that cameras, phones, scanners and web pages write."""
    bin = Image.open(BytesIO(draw_one(1, seed=5).jpeg)).convert("RGB").resize((160, 96))
    other = Image.open(BytesIO(draw_one(2, seed=5).jpeg)).convert("RGB").resize((160, 96))
    clear = bin.convert("RGBA")
    clear.putalpha(other.convert("L"))
    wide = Image.fromarray(np.asarray(bin.convert("L")).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker of cameras"
    more = {"save_all": True, "append_images": [other, bin]}
    return {
        "JPEG": saved(bin, "JPEG"),
        "JPEG with EXIF": saved(bin, "JPEG", exif=exif, subsampling=0),
        "JPEG with restarts": saved(bin, "JPEG", restart_marker_rows=1),
        "progressive JPEG": saved(bin, "JPEG", progressive=True),
        "grey JPEG": saved(bin.convert("L"), "JPEG"),
        "CMYK JPEG": saved(bin.convert("CMYK"), "JPEG"),
        "JPEG with a profile": saved(bin, "JPEG", icc_profile=bytes(range(256)) * 40),
        "MPO": saved(bin, "MPO", **more),
        "PNG": saved(bin, "PNG"),
        "clear PNG": saved(clear, "PNG"),
        "palette PNG": saved(bin.quantize(64), "PNG", transparency=3),
        "16-bit PNG": saved(wide, "PNG"),
        "1-bit PNG": saved(bin.convert("1"), "PNG"),
        "animated PNG": saved(bin, "PNG", **more),
        "GIF": saved(bin, "GIF"),
        "animated GIF": saved(bin, "GIF", **more),
        "WebP": saved(bin, "WEBP"),
        "lossless WebP": saved(clear, "WEBP", lossless=True),
        "animated WebP": saved(bin, "WEBP", **more),
        "TIFF": saved(bin, "TIFF"),
        "LZW TIFF": saved(bin, "TIFF", compression="tiff_lzw"),
        "JPEG TIFF": saved(bin, "TIFF", compression="jpeg"),
        "fax TIFF": saved(bin.convert("1"), "TIFF", compression="group4"),
        "16-bit TIFF": saved(wide, "TIFF"),
        "CMYK TIFF": saved(bin.convert("CMYK"), "TIFF", compression="packbits"),
        "pages of TIFF": saved(bin, "TIFF", **more),
        "BMP": saved(bin, "BMP"),
    }


def damaged(number: int, seed: int = 1) -> Iterator[Named]:
    """``number`` files, each a whole one with one to three kinds of damage; headers suffer more often than pixels."""
    whole, chance = list(wholes().items()), random.Random(seed)
    for place in range(number):
        name, data = whole[place % len(whole)]
        done = chance.choices(list(_DAMAGES), k=chance.choice((1, 1, 2, 3)))
        for damage in done:
            data = _DAMAGES[damage](data, chance, chance.choice(whole)[1])
        yield f"{name}, {', '.join(done)}", data


def _place(data: bytes, chance: random.Random) -> int:
    limit = len(data) if chance.random() < 0.5 else min(len(data), 200)
    return chance.randrange(max(1, limit))


def _flipped(data: bytes, chance: random.Random, other: bytes) -> bytes:
    new = bytearray(data)
    for _ in range(chance.choice((1, 4, 40)) if new else 0):
        new[_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(new)


def _put(data: bytes, chance: random.Random, _: bytes) -> bytes:
    at = _place(data, chance)
    value = chance.choice((b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80", chance.randbytes(8)))
    return data[:at] + value + data[at + len(value) :]


def _cut(data: bytes, chance: random.Random, _: bytes) -> bytes:
    return data[: _place(data, chance) if chance.random() < 0.8 else -chance.randint(1, 30)]


def _spliced(data: bytes, chance: random.Random, other: bytes) -> bytes:
    return data[: _place(data, chance)] + other[_place(other, chance) :]


def _moved(data: bytes, chance: random.Random, _: bytes) -> bytes:
    at, length = _place(data, chance), chance.randint(1, 300)
    part = data[at : at + length]
    return data[:at] + chance.choice((b"", part * 2, bytes(len(part)), part * 50)) + data[at + length :]


def _trailed(data: bytes, chance: random.Random, other: bytes) -> bytes:
    return data + chance.choice((other, bytes(5000), chance.randbytes(500)))


_DAMAGES: dict[str, Callable[[bytes, random.Random, bytes], bytes]] = {
    "bits flipped": _flipped,
    "numbers put in": _put,
    "cut": _cut,
    "spliced": _spliced,
    "parts moved": _moved,
    "more after it": _trailed,
}


def hostile() -> Iterator[Named]:
    """Files made to be mistaken, to be endless, or to need more memory or time than a photo may."""
    yield from _strangers()
    for kind, make in _HEADERS.items():
        for width, height in (
            (2**16 - 1, 2**16 - 1),
            (9_900, 9_900),
            (6_300, 6_300),
            (2**31 - 1, 9),
            (9, 60_000),
            (0, 0),
        ):
            yield f"{kind} of {width} x {height}", make(width, height)
    for side in (6_300, 9_900):
        for colour in (0, 2, 3, 4, 6):
            yield f"whole PNG of colour {colour}, {side} a side", _png(side, side, colour, whole=True)
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            yield (
                f"whole JPEG {mode} {progressive}",
                saved(Image.new(mode, (7_000, 7_000)), "JPEG", progressive=progressive),
            )
    yield "whole WebP", saved(Image.new("RGB", (6_300, 6_300), "red"), "WEBP", lossless=True, method=0, quality=0)
    yield "whole GIF", saved(Image.new("P", (6_300, 6_300)), "GIF")
    yield "whole TIFF", saved(Image.new("1", (6_300, 6_300)), "TIFF", compression="group4")
    yield "TIFF whose strips say too much", _put_tiff(saved(Image.new("L", (64, 64)), "TIFF"), 279, 2**32 - 1)
    yield "TIFF whose pages go in a circle", _circle(saved(Image.new("L", (64, 64)), "TIFF"))
    for scans in (20, 1_000, 20_000):
        yield f"JPEG of {scans} scans", _scans(1_000, scans)
    yield "large JPEG of 2,000 scans", _scans(8_000, 2_000)
    small = saved(Image.new("RGB", (64, 64)), "JPEG")
    profile = b"\xff\xe2" + struct.pack(">H", 65_535) + b"ICC_PROFILE\0\x01\xff" + bytes(65_535 - 16)
    yield "JPEG with 16 MB of profile", small[:2] + profile * 255 + small[2:]
    yield "JPEG of markers alone", b"\xff\xd8" + b"\xff\xfe\0\2" * 2_000_000
    yield "JPEG of fill bytes", b"\xff\xd8" + b"\xff" * 8_000_000
    yield "MPO of MPOs", _nested()
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + b"\xff\xff" + bytes(range(256)) * 240
    yield "JPEG with EXIF of noise", saved(Image.new("RGB", (64, 64)), "JPEG", exif=exif)
    circle = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 4, 1, 8, 8)
    yield "JPEG whose EXIF goes in a circle", saved(Image.new("RGB", (64, 64)), "JPEG", exif=circle)
    for part, body in (
        (b"tEXt", b"k\0" + b"x" * 20_000_000),
        (b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000_000), 9)),
        (b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(200_000_000), 9)),
        (b"iCCP", b"k\0\0" + zlib.compress(bytes(200_000_000), 9)),
        (b"eXIf", bytes(range(256)) * 40_000),
    ):
        yield f"PNG with a large {part.decode()}", _png(64, 64, 2, whole=True, extra=_chunk(part, body))
    yield "PNG of 200,000 text chunks", _png(64, 64, 2, whole=True, extra=_chunk(b"tEXt", b"key\0value") * 200_000)
    yield "PNG of a million empty parts", _png(64, 64, 2, whole=True, extra=_chunk(b"IDAT", b"") * 1_000_000)
    yield "GIF of 100,000 comments", b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0, 0, 0) + b"!\xfe\1x\0" * 100_000 + b";"


def _strangers() -> Iterator[Named]:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bin.jpg", bytes(50_000_000))
    yield "zip", packed.getvalue()
    yield "HTML", b"<!doctype html><title>404</title><p>Not found" * 50
    yield "PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n" * 40
    yield (
        "SVG",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>',
    )
    yield "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9999 9999\n{} loop\n"
    yield "nothing", b""
    yield "zeros", bytes(40_000_000)
    yield "ones", b"\xff" * 1_000_000
    yield "noise", random.Random(2).randbytes(1_000_000)
    yield "text", "é€\n".encode() * 9_000
    yield "ICO", saved(Image.new("RGB", (64, 64)), "ICO")
    yield "PPM", b"P6 60000 60000 255\n" + bytes(999)
    yield "JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(500)
    for start in (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"II+\0",
        b"RIFF\xff\xff\xff\xffWEBPVP8L",
    ):
        yield f"only the start of {start[:4]!r}", start
        yield f"{start[:4]!r} and noise", start + random.Random(3).randbytes(3_000)
        yield f"{start[:4]!r} and zeros", start + bytes(100_000)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, colour: int = 2, whole: bool = False, extra: bytes = b"") -> bytes:
    """A black PNG; ``whole``: with all its pixels. Packed row by row, so that making it takes no memory."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height, 8, colour, 0, 0, 0))
    pack, row = zlib.compressobj(1), bytes(1 + min(width, 70_000) * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour])
    body = b"".join(pack.compress(row) for _ in range(height if whole else 1)) + pack.flush()
    palette = _chunk(b"PLTE", b"\1\2\3" * 4) + _chunk(b"tRNS", b"\x80\xff") if colour == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + header + palette + extra + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _jpeg(width: int, height: int) -> bytes:
    data = saved(Image.new("RGB", (64, 64)), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height & 0xFFFF, width & 0xFFFF) + data[at + 4 :]


def _gif(width: int, height: int) -> bytes:
    place = struct.pack("<HHHH", 0, 0, width & 0xFFFF, height & 0xFFFF)
    return (
        b"GIF89a" + struct.pack("<HH", width & 0xFFFF, height & 0xFFFF) + b"\0\0\0," + place + b"\0\x02\x02\x4c\x01\0;"
    )


def _webp(width: int, height: int) -> bytes:
    still = saved(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]
    edges = b"".join((max(1, one) - 1 & 0xFFFFFF).to_bytes(3, "little") for one in (width, height))
    canvas = b"VP8X" + struct.pack("<II", 10, 0) + edges
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(still)) + b"WEBP" + canvas + still


def _bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, *[0] * 6)


def _tiff(width: int, height: int) -> bytes:
    return _put_tiff(_put_tiff(saved(Image.new("L", (64, 64)), "TIFF"), 256, width), 257, height)


def _put_tiff(data: bytes, tag: int, value: int) -> bytes:
    """The TIFF with another value for a tag of its first page."""
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    new = bytearray(data)
    for place in range(at + 2, at + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", data, place) == (tag,):
            struct.pack_into("<HHII", new, place, tag, 4, 1, value)
    return bytes(new)


def _circle(data: bytes) -> bytes:
    """The TIFF whose last page is followed by its first."""
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    end = at + 2 + 12 * entries
    return data[:end] + struct.pack("<I", at) + data[end + 4 :]


_HEADERS: dict[str, Callable[[int, int], bytes]] = {
    "PNG": _png, "JPEG": _jpeg, "GIF": _gif, "WebP": _webp, "BMP": _bmp, "TIFF": _tiff,
}  # fmt: skip


def _scans(side: int, scans: int) -> bytes:
    """A grey progressive JPEG that repeats its last scan, each time a pass over the whole picture in a few bytes."""
    data = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * scans + data[-2:]


def _nested() -> bytes:
    """An MPO whose second picture is an MPO, whose second …"""
    inner = saved(Image.new("RGB", (32, 32)), "JPEG")
    for _ in range(30):
        outer = saved(Image.new("RGB", (40, 40)), "MPO", save_all=True, append_images=[Image.new("RGB", (40, 40))])
        at = outer.rindex(b"\xff\xd8\xff")
        inner = outer[:at] + inner
    return inner
