"""What a site has settled, from its TOML: where its book is, its policy, and how photos get their bins."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from binventory import settings
from binventory.book import intake
from binventory.book.intake import IntakeSettings
from binventory.deciding.policy import Policy
from binventory.errors import UsageError
from binventory.s3 import is_remote

DEFAULT = "binventory.toml"
"""The file that is read where none is named, if it lies in the current folder."""

_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class BookSettings:
    """The section ``[book]`` of a site's TOML.

    ``url``: a path, or a URL (``sqlite:///``, ``postgresql://``). ``photos``: the folder or ``s3://`` prefix that keeps
    them. None where the site leaves it open. A relative path is relative to the TOML file.
    """

    url: Annotated[str, Meta(min_length=1)] | None = None
    photos: Annotated[str, Meta(min_length=1)] | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """All settings of a site, defaults where its TOML is silent."""

    book: BookSettings = field(default_factory=BookSettings)
    policy: Policy = field(default_factory=Policy)
    intake: IntakeSettings = field(default_factory=IntakeSettings)


def load(path: str | None = None) -> Site:
    """The site of a TOML file; without one, of ``binventory.toml`` in the current folder, else the built-in one.

    Raises UsageError naming the file and the setting.
    """
    if path is None and not os.path.lexists(DEFAULT):
        return Site()
    file = Path(DEFAULT if path is None else path)
    values = settings.read_toml(file, "site", ("there is no such file", f"--site {DEFAULT}"))
    said = f"In {file}, setting"
    site = settings.from_mapping(values, Site(), "site", said)
    _refuse_unfit(site, said)
    book = BookSettings(*(one and _below(file.parent, one) for one in (site.book.url, site.book.photos)))
    return replace(site, book=book)


def book_address(given: str | None, site: Site) -> str:
    """Where the book is: as given, else the environment's ``BINVENTORY_BOOK``, else the site's, else ``book.db`` in the
    user's data folder."""
    if address := given or os.environ.get("BINVENTORY_BOOK") or site.book.url:
        return address
    from platformdirs import user_data_path

    return str(user_data_path("binventory") / "book.db")


def _below(folder: Path, address: str) -> str:
    """An address with a relative path made one below ``folder``."""
    if is_remote(address) or ("://" in address and not address.startswith(_SQLITE)):
        return address
    scheme = _SQLITE if address.startswith(_SQLITE) else ""
    path = address.removeprefix(scheme)
    if scheme and path in ("", ":memory:"):
        return address
    return scheme + os.path.abspath(folder / os.path.expanduser(path))


def _refuse_unfit(site: Site, said: str) -> None:
    """Refuse what types cannot say."""
    low, high = site.policy.value_shares
    if low > high:
        raise UsageError(f"{said} policy.value_shares does not fit", f"{low:g} is more than {high:g}",
                         "policy.value_shares=[0.8, 0.95]")  # fmt: skip
    checks: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("pattern", intake.path_pattern),
        ("barcode_pattern", intake.code_pattern),
        ("timezone", intake.zone),
    )
    for name, check in checks:
        try:
            check(getattr(site.intake, name))
        except ValueError as error:
            raise _unfit(said, name, str(error)) from None
    if "path" in site.intake.bin and "{bin}" not in site.intake.pattern:
        raise _unfit(said, "pattern", "it does not name {bin}, and intake.bin has path")
    watched, *ours = (os.path.abspath(one) for one in (".", site.intake.filed, site.intake.quarantine))
    if watched in ours or os.path.commonpath(ours) in ours:
        raise _unfit(said, "quarantine", "photos that wait, are filed and are quarantined would lie in one folder")


def _unfit(said: str, name: str, why: str) -> UsageError:
    default = json.dumps(getattr(IntakeSettings(), name), ensure_ascii=False)
    return UsageError(f"{said} intake.{name} does not fit", why, f"intake.{name}={default}")
