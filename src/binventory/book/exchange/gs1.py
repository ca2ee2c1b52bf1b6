"""The check digits of GTINs (of articles) and SSCCs (of totes and pallets), by the library ``biip``."""

from __future__ import annotations

from binventory.errors import RecordError

_GTINS = (8, 12, 13, 14)


def gtin(text: str) -> str:
    """A GTIN of 8, 12, 13 or 14 digits, blanks and hyphens dropped. Raises RecordError."""
    return _checked("GTIN", text, _GTINS, "8, 12, 13 or 14")


def sscc(text: str) -> str:
    """An SSCC of 18 digits, blanks, hyphens and the ``(00)`` of its label dropped. Raises RecordError."""
    digits = text.strip().removeprefix("(00)")
    if len(digits) == 20 and digits.startswith("00"):  # as scanners send it, with its application identifier
        digits = digits[2:]
    return _checked("SSCC", digits, (18,), "18")


def is_sscc(text: str) -> bool:
    """Whether these are exactly the digits of an SSCC."""
    try:
        return sscc(text) == text
    except RecordError:
        return False


def _checked(what: str, text: str, lengths: tuple[int, ...], told: str) -> str:
    from biip.checksums import gs1_standard_check_digit  # its first import takes a while

    digits = text.replace(" ", "").replace("-", "").strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) in lengths):
        why = f"it has {len(digits)} characters, and a {what} has {told} digits"
        raise RecordError(f"{what} {text[:40]!r} is none", why, "keep it as text, with its leading zeros")
    right = gs1_standard_check_digit(digits[:-1])
    if right != int(digits[-1]):
        why = f"its check digit is {digits[-1]} and would be {right}"
        raise RecordError(f"{what} {digits} is none", why, "read it from the label again")
    return digits
