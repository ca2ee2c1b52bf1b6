"""What the verbs of the book share: the options that name a site and its book, and the way in."""

from __future__ import annotations

import getpass
import hashlib
import json
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from binventory.cli import terminal
from binventory.cli.counting import far_counter, near_counter, refuse_with_endpoint, tell_licence
from binventory.cli.terminal import many
from binventory.errors import BinventoryError, MissingError, UsageError
from binventory.records import Counts

if TYPE_CHECKING:
    from binventory.book.entries import Bundled
    from binventory.book.site import Site
    from binventory.book.store import Ledger
    from binventory.counting.bundle import Bundle

SiteOption = Annotated[
    str | None,
    typer.Option(
        "--site",
        help="The site's TOML, with [book], [policy] and [intake]. Default: binventory.toml here, else built in.",
        metavar="FILE",
    ),
]
BookOption = Annotated[
    str | None,
    typer.Option(
        "--book",
        help="The book: a path or postgresql:// URL. Default: BINVENTORY_BOOK, the site's, else the user's own.",
        metavar="PATH|URL",
    ),
]
WhoOption = Annotated[
    str | None, typer.Option("--who", help="Who does it, as the book remembers. Default: this account.", metavar="NAME")
]


@dataclass(frozen=True, slots=True)
class Desk:
    """A site and its open book."""

    site: Site
    ledger: Ledger


@contextmanager
def opened(site: str | None, book: str | None) -> Iterator[Desk]:
    """The site that a file describes, and its book, open; what errors advise to type names that book, too.

    Raises UsageError, OutsideError.
    """
    from binventory.book import site as sites
    from binventory.book import store

    found = sites.load(site)
    try:
        with store.opened(sites.book_address(book, found), found.book.photos) as ledger:
            yield Desk(found, ledger)
    except BinventoryError as error:
        if "binventory " in error.next:
            error.next += _where(site, book)
        raise


@contextmanager
def asked(site: str | None, book: str | None) -> Iterator[Desk]:
    """As ``opened``, for verbs that only ask: where there is no book yet, an empty one that is not kept."""
    from binventory.book import site as sites
    from binventory.book import store

    found = sites.load(site)
    address = sites.book_address(book, found)
    if not store.missing(address):
        with opened(site, book) as desk:
            yield desk
        return
    terminal.say(f"note: there is no book at {address}; binventory expect FILE begins one")
    with tempfile.TemporaryDirectory() as folder, store.opened(f"{folder}/book.db") as ledger:
        yield Desk(found, ledger)


@contextmanager
def kept(site: str | None, book: str | None) -> Iterator[Desk]:
    """As ``opened``, for verbs that want a book that is there. Raises MissingError where there is none."""
    from binventory.book import site as sites
    from binventory.book import store

    address = sites.book_address(book, sites.load(site))
    if store.missing(address):
        raise MissingError(f"There is no book at {address}", "no such file exists", "check --book and BINVENTORY_BOOK")
    with opened(site, book) as desk:
        yield desk


def tell_photos(desk: Desk) -> None:
    """Say where photos go, where others who use the book would look for them in vain."""
    if desk.site.book.photos is None and desk.ledger.name.startswith("postgresql"):
        terminal.say(f"note: photos are kept on this machine alone, in {desk.ledger.photos.root}. Try: [book] photos, "
                     "a shared folder or s3:// prefix")  # fmt: skip


def next_step(words: str, site: str | None, book: str | None) -> str:
    """A command to type next, on the same book."""
    return f"binventory {words}{_where(site, book)}"


def _where(site: str | None, book: str | None) -> str:
    options = (("--site", site), ("--book", book))
    return "".join(f" {option} {shlex.quote(given)}" for option, given in options if given)


def named(who: str | None) -> str:
    """Who does it: the name given, or the account's."""
    if who is not None:
        if not who.strip() or not who.isprintable() or len(who) > 100:
            raise UsageError("--who names nobody", "a name has 1 to 100 printable characters", "--who NAME")
        return who.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        raise UsageError("Nobody is named", "this account has no name", "--who NAME") from None


def bin_named(given: str) -> str:
    """A bin's name as the book has it. Raises UsageError where it can be none."""
    from binventory.book import intake

    name = intake.bin_name(given)
    if name is None:
        raise UsageError(f"{given[:40]!r} names no bin", f"a name has 1 to {intake.LONGEST_BIN} printable characters",
                         "give the bin's name")  # fmt: skip
    return name


def counting(bundle: str | None, endpoint: str | None) -> tuple[Counts, Bundled]:
    """A counter here or far away, and its bundle as the book knows it. Raises UsageError, BundleError, OutsideError."""
    if endpoint is None:
        counter = near_counter(bundle, None)
        return counter, known(counter.bundle)
    from binventory.cloud import runtime
    from binventory.cloud.session import opened as signed_in

    refuse_with_endpoint(bundle, None)
    runs = runtime.bundle_of(signed_in(), endpoint)
    tell_licence(runs)
    return far_counter(endpoint, None, None), known(runs)


def known(bundle: Bundle) -> Bundled:
    """A bundle as the book knows it: by a digest of its parts, with what it learnt about passing."""
    from binventory.book.entries import Bundled

    parts = json.dumps(sorted(bundle.manifest.hashes.items()))
    rule = bundle.deciding.decode() if bundle.deciding else ""
    return Bundled(hashlib.sha256(parts.encode()).hexdigest(), bundle.manifest.name, rule)


def reverify(desk: Desk) -> int:
    """Judge anew what was judged against a record that has changed since, and say how much that was."""
    from binventory.book import acts

    anew = acts.reverified(desk.ledger, desk.site.policy)
    if anew:
        told = many(anew, "verdict")
        terminal.say(f"note: {told} given anew, for records of their time or the policy have changed")
    return anew


def percent(share: float | None) -> str:
    """A share as people read it; nothing where there is none."""
    return "" if share is None else f"{share:.0%}" if 0.01 <= share <= 0.99 else f"{share:.1%}"
