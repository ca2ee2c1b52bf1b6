"""``inference.py`` behind a real handler-based server answers as ``binventory serve --hosting`` does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import binventory
from binventory import Counter
from binventory.counting import wire
from binventory.data import drawn
from hosts import LINES, PHOTOS, Host, handler_based, hosted

BUNDLE = Path(binventory.__file__).parent / "shipped" / "open"
REAL = (PHOTOS / "00181.jpg").read_bytes()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    """The handler-based server and ours, each with the same bundle."""
    if not shutil.which("java") and os.environ.get("BINVENTORY_JAVA") != "required":
        pytest.skip("multi-model-server wants Java: apt-get install default-jre-headless")
    folder = tmp_path_factory.mktemp("hosts")
    with handler_based(folder, BUNDLE) as handlers, hosted(folder, "--bundle", "open") as ours:
        ours.comes_up()
        yield handlers, ours


@pytest.mark.parametrize("kind", ["image/jpeg", "application/x-image"])
def test_a_real_photo_gets_the_same_count_from_both(hosts: tuple[Host, Host], kind: str) -> None:
    handlers, ours = (host.post(REAL, {"Content-Type": kind}) for host in hosts)
    assert handlers.status_code == ours.status_code == 200
    assert handlers.headers["content-type"] == ours.headers["content-type"] == "application/json"
    assert handlers.content == ours.content
    assert ours.json()["count"] == Counter.load("open").count(REAL).count


def test_several_photos_get_the_same_lines_from_both(hosts: tuple[Host, Host]) -> None:
    body = wire.line("real", REAL) + wire.line("bad", b"hello")
    body += b"".join(wire.line(one.id, one.jpeg) for one in drawn.draw(3, seed=2))
    handlers, ours = (host.post(body, LINES) for host in hosts)
    assert handlers.headers["content-type"] == ours.headers["content-type"] == "application/jsonlines"
    assert handlers.content == ours.content
    assert len(ours.text.splitlines()) == 5


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"hello", {"Content-Type": "image/jpeg"}), (b"x", {"Content-Type": "text/csv"}), (b"{", LINES),
     (REAL, {"Content-Type": "image/jpeg", "Accept": "text/html"})],
)  # fmt: skip
def test_what_cannot_be_counted_gets_the_same_status_from_both(
    hosts: tuple[Host, Host], body: bytes, headers: dict[str, str]
) -> None:
    handlers, ours = (host.post(body, headers) for host in hosts)
    assert handlers.status_code == ours.status_code
    assert ours.json()["detail"] in handlers.text
