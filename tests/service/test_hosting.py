"""The hosting contract, against real servers on loopback."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from binventory import Counter, Photo, objects
from binventory.counting import bundle as bundles
from binventory.counting import wire
from binventory.data import drawn
from binventory.errors import InputError
from binventory.photo import Pixels
from binventory.service import hosting
from binventory.service.engine import Engine
from binventory.service.hosting import Limits
from hosts import JPEG, LINES, PHOTOS, Host, hosted, hosted_here
from s3server import S3Server

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosted(tmp_path_factory.mktemp("host"), "--bundle", "open", "--max-body", 4) as host:
        host.comes_up()
        yield host


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    return [Photo(one.id, one.jpeg) for one in drawn.draw(48, seed=5)]


@pytest.fixture(scope="module")
def counter() -> Counter:
    return Counter.load("open")


def lines(photos: list[Photo]) -> bytes:
    return b"".join(wire.line(photo.name, photo.data) for photo in photos)


def rows(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def same(row: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same count but for the last digits, in which batches of other sizes may differ."""
    assert row["photo"] == expected["photo"]
    assert (row["count"], row["interval"], row["median"]) == (
        expected["count"], expected["interval"], expected["median"],
    )  # fmt: skip
    assert row["probs"] == pytest.approx(expected["probs"], abs=1e-5)


class Frail:
    """A trunk that does as it is told: work, fail, or hang until it may go on."""

    identity = "frail"

    def __init__(self, trunk: Any) -> None:
        self.trunk, self.fails, self.go_on = trunk, False, threading.Event()
        self.go_on.set()

    def features(self, pictures: Pixels) -> NDArray[np.float32]:
        self.go_on.wait(30)
        if self.fails:
            raise RuntimeError("out of luck")
        features: NDArray[np.float32] = self.trunk.features(pictures)
        return features


@pytest.fixture
def frail(counter: Counter) -> Iterator[Frail]:
    trunk = Frail(counter._trunk)
    yield trunk
    trunk.go_on.set()


def frail_engine(counter: Counter, frail: Frail) -> Engine:
    return Engine(lambda: Counter(counter.bundle, frail), patience=3.0, idle=0.1)


def until(url: str, status: int, seconds: float = 10) -> httpx.Response:
    """The first ping that is answered so."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        answer = httpx.get(f"{url}/ping", timeout=2)
        if answer.status_code == status:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"ping never said {status}, last {answer.status_code}: {answer.text}")


def test_a_ping_is_unhealthy_while_the_model_loads_and_healthy_once_a_photo_is_counted(tmp_path: Path) -> None:
    with hosted(tmp_path, "--bundle", "abid") as host:
        first = host.ping()
        assert first.status_code == 503
        assert first.headers["content-type"] == "application/problem+json"
        assert "is being loaded" in first.json()["detail"]
        refused = host.post(b"x", JPEG)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        host.comes_up()
        real = host.post((PHOTOS / "00181.jpg").read_bytes(), JPEG)
        same(real.json(), wire.row("photo", Counter.load("abid").count(PHOTOS / "00181.jpg")))


def test_a_model_that_cannot_be_loaded_is_never_healthy_and_says_why(tmp_path: Path) -> None:
    base = bundles.load("open")
    bundles.save(base, tmp_path / "bundle")
    (tmp_path / "bundle" / "trunk.onnx").write_bytes(base.trunk[:-1000])
    with hosted(tmp_path, "--bundle", tmp_path / "bundle") as host:
        time.sleep(1)
        for _ in range(5):
            answer = host.ping()
            assert answer.status_code == 503
            time.sleep(0.1)
        assert "trunk.onnx is not what bundle.json says" in answer.json()["detail"]
        assert host.post(b"x", JPEG).status_code == 503
        assert "trunk.onnx is not what bundle.json says" in host.log.read_text()
        assert host.process.poll() is None


def test_a_model_that_begins_to_fail_is_unhealthy_until_it_works_again(
    counter: Counter, frail: Frail, photos: list[Photo]
) -> None:
    with hosted_here(frail_engine(counter, frail), Limits()) as url:
        until(url, 200)
        frail.fails = True
        answer = httpx.post(f"{url}/invocations", content=photos[0].data, headers=JPEG)
        assert answer.status_code in (500, 503)
        assert "out of luck" in answer.json()["detail"]
        assert "out of luck" in until(url, 503).json()["detail"]
        frail.fails = False
        until(url, 200)
        assert httpx.post(f"{url}/invocations", content=photos[0].data, headers=JPEG).status_code == 200


def test_a_model_that_hangs_is_unhealthy_and_keeps_nobody_waiting(
    counter: Counter, frail: Frail, photos: list[Photo]
) -> None:
    with hosted_here(frail_engine(counter, frail), Limits()) as url:
        until(url, 200)
        frail.go_on.clear()
        answer = httpx.post(f"{url}/invocations", content=photos[0].data, headers=JPEG, timeout=10)
        assert answer.status_code == 503
        assert "counting hangs" in answer.json()["detail"]
        assert "counting hangs" in until(url, 503).json()["detail"]
        frail.go_on.set()
        until(url, 200)


def test_more_requests_than_may_wait_are_told_to_come_again(
    counter: Counter, frail: Frail, photos: list[Photo]
) -> None:
    engine = Engine(lambda: Counter(counter.bundle, frail), patience=20, idle=20)
    with hosted_here(engine, Limits(waiting=2)) as url, ThreadPoolExecutor(3) as pool:
        until(url, 200)
        frail.go_on.clear()
        two = [pool.submit(httpx.post, f"{url}/invocations", content=photos[0].data, headers=JPEG, timeout=30)
               for _ in range(2)]  # fmt: skip
        time.sleep(0.5)
        answer = httpx.post(f"{url}/invocations", content=photos[0].data, headers=JPEG)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        assert httpx.get(f"{url}/ping", timeout=2).status_code == 200
        frail.go_on.set()
        assert [one.result().status_code for one in two] == [200, 200]


def test_who_hangs_up_leaves_the_place_to_others(counter: Counter, frail: Frail, photos: list[Photo]) -> None:
    engine = Engine(lambda: Counter(counter.bundle, frail), patience=20, idle=20)
    with hosted_here(engine, Limits(waiting=1)) as url:
        until(url, 200)
        frail.go_on.clear()
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/invocations", content=photos[0].data, headers=JPEG, timeout=0.5)
        time.sleep(0.2)
        frail.go_on.set()
        assert httpx.post(f"{url}/invocations", content=photos[0].data, headers=JPEG).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(counter: Counter) -> None:
    with hosted_here(Engine(lambda: counter), Limits(receive=0.3)) as url:
        until(url, 200)
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port or 0), timeout=10) as client:
            client.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
                           b"Content-Length: 1000\r\n\r\nsome")  # fmt: skip
            assert b" 408 " in client.recv(1000)


def test_many_clients_at_once_get_the_counts_of_one_alone(host: Host, counter: Counter, photos: list[Photo]) -> None:
    expected = {photo.name: wire.row(photo.name, count) for photo, count in
                zip(photos, counter.count_each(photos), strict=True)}  # fmt: skip
    parts = [photos[start : start + 3] for start in range(0, len(photos), 3)]
    with ThreadPoolExecutor(len(parts)) as pool:
        answers = list(pool.map(lambda part: host.post(lines(part), LINES), parts))
    for part, answer in zip(parts, answers, strict=True):
        for photo, row in zip(part, rows(answer), strict=True):
            same(row, expected[photo.name])


def test_a_ping_is_answered_in_time_while_everyone_counts(host: Host, photos: list[Photo]) -> None:
    stop = threading.Event()

    def count_on() -> None:
        while not stop.is_set():
            assert host.post(lines(photos[:16]), LINES).status_code in (200, 429)

    with ThreadPoolExecutor(8) as pool:
        working = [pool.submit(count_on) for _ in range(8)]
        took = []
        for _ in range(8):
            begun = time.monotonic()
            assert host.ping().status_code == 200
            took.append(time.monotonic() - begun)
            time.sleep(0.2)
        stop.set()
        for one in working:
            one.result()
    assert max(took) < 2


SLOW = """
import sys, time
from binventory import Counter
from binventory.service import hosting

class Trunk:
    identity, asked = "slow", 0
    def features(self, pictures):
        self.asked += 1
        time.sleep(0 if self.asked == 1 else float(sys.argv[1]))
        return trunk.features(pictures)

counter = Counter.load("open")
trunk = counter._trunk
listening = hosting.listen("127.0.0.1", 0)
print(listening.getsockname()[1], flush=True)
hosting.serve(lambda: Counter(counter.bundle, Trunk()), hosting.Limits(), listening)
"""


@contextmanager
def slow(seconds: float) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server of its own process that takes so long for a batch, once it is healthy."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        until(url, 200)
        yield url, process
    finally:
        process.kill()
        process.communicate()


def test_sigterm_finishes_what_is_under_way_and_lets_nobody_in(photos: list[Photo]) -> None:
    with slow(1.5) as (url, process), ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(
            httpx.post, f"{url}/invocations", content=lines(photos[:20]), headers=LINES, timeout=30
        )  # two batches
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/ping")
        assert not under_way.done()
        assert len(rows(under_way.result())) == 20
        assert process.wait(10) == 0


def test_sigterm_ends_a_process_whose_model_hangs() -> None:
    with slow(1000) as (url, process):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/invocations", content=(PHOTOS / "00112.jpg").read_bytes(), headers=JPEG, timeout=1)
        process.terminate()
        said = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 1
    assert "terminate called" not in said


def test_one_picture_is_answered_by_one_object_and_many_by_as_many_lines(
    host: Host, counter: Counter, photos: list[Photo]
) -> None:
    expected = wire.row("photo", counter.count(photos[0]))
    for kind in ("image/jpeg", "image/png", "application/x-image", "Image/JPEG; charset=binary"):
        answer = host.post(photos[0].data, {"Content-Type": kind})
        assert answer.headers["content-type"] == "application/json"
        same(answer.json(), expected)
    (line,) = rows(host.post(photos[0].data, JPEG | {"Accept": "application/jsonlines"}))
    same(line, expected)
    bad = b'{"photo": "text", "image": "aGVsbG8="}\n{"photo": "no base64", "image": "%"}\n{"photo": "nothing"}\n'
    found = rows(host.post(lines(photos[:1]) + b"\r\n" + bad + lines(photos[1:2]), LINES))
    assert [one["photo"] for one in found] == [photos[0].name, "text", "no base64", "nothing", photos[1].name]
    assert [set(one["error"]) for one in found[1:4]] == [{"what", "why", "next"}] * 3
    array = host.post(lines(photos[:2]), LINES | {"Accept": "application/json"}).json()
    assert [one["photo"] for one in array] == [photo.name for photo in photos[:2]]


REFUSED = {
    "no picture": (b"hello, this is text", JPEG, 422, "holds text"),
    "empty": (b"", JPEG, 400, "holds no photo"),
    "no line": (b"\n\n", LINES, 400, "holds no photo"),
    "no JSON": (b'{"photo": "a", "image": ""}\n{', LINES, 400, "Line 2 of the request"),
    "no object": (b"[1]", LINES, 400, "Line 1 of the request"),
    "no UTF-8": (b'{"photo": "\xff"}', LINES, 400, "Line 1 of the request"),
    "too large": (b"x" * (4 * MEGABYTE + 1), JPEG, 413, "4,194,304 bytes (4 MB)"),
    "too many": (b"{}\n" * 10_001, LINES, 413, "10,000 at most"),
    "other type": (b"x", {"Content-Type": "text/csv"}, 415, "image/jpeg, image/png, application/x-image"),
    "no type": (b"x", {}, 415, "names no content type"),
    "other answer": (b"x", JPEG | {"Accept": "text/html, application/json;q=0"}, 406, "application/json"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_answered_is_refused_with_its_status_and_reason(host: Host, why: str) -> None:
    body, headers, status, said = REFUSED[why]
    answer = host.post(body, headers)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"]) == (status, status), answer.text
    assert said in problem["detail"]
    assert problem.keys() == {"type", "title", "status", "detail", "error"}
    assert host.ping().status_code == 200


def test_an_answer_does_not_wait_for_the_receipt_of_its_first_packet(host: Host) -> None:
    with httpx.Client() as client:
        took = []
        for _ in range(40):
            begun = time.monotonic()
            client.post(f"{host.url}/invocations", content=b"x" * 50_000, headers=JPEG)
            took.append(time.monotonic() - begun)
    assert sorted(took)[10] < 0.03


def test_a_body_of_unknown_length_is_cut_at_the_limit(host: Host) -> None:
    answer = httpx.post(f"{host.url}/invocations", content=iter([b"x" * MEGABYTE] * 6), headers=JPEG)
    assert answer.status_code == 413


def test_what_is_hosted_loads_no_library_of_learning() -> None:
    code = (
        "import sys, binventory.service.hosting\nprint(sorted({'torch', 'scipy', 'duckdb', 'jinja2'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_other_paths_and_methods_are_told_what_there_is(host: Host) -> None:
    for method, path, status in (("GET", "/", 404), ("GET", "/invocations", 405), ("POST", "/ping", 405)):
        answer = httpx.request(method, f"{host.url}{path}")
        assert answer.status_code == status
        assert "POST /invocations" in answer.json()["detail"]


def test_batch_transform_is_told_what_suits(host: Host) -> None:
    answer = httpx.get(f"{host.url}/execution-parameters")
    assert answer.json() == {"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 4}


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["photo", "image"]), inner),
    max_leaves=6,
)
BODIES = st.binary(max_size=300) | st.lists(JSONISH.map(json.dumps), max_size=4).map(
    lambda written: "\n".join(written).encode()
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BODIES, st.sampled_from([*wire.TAKEN, "application/json", ""]), st.sampled_from(["*/*", "", "application/json"]))
def test_no_body_is_a_fault_of_the_server(host: Host, body: bytes, content_type: str, accept: str) -> None:
    answer = host.post(body, {"Content-Type": content_type, "Accept": accept})
    assert answer.status_code in (200, 400, 415, 422), answer.text


def test_photos_on_s3_are_counted_below_the_allowed_prefix_alone(
    signed: S3Server, tmp_path: Path, photos: list[Photo]
) -> None:
    for place in ("public/hosting/in/a.jpg", "public/hosting/inside.jpg", "public/hosting/secret.jpg"):
        objects.write(f"s3://{place}", photos[0].data)
    asked = ["in/a.jpg", "in/none.jpg", "inside.jpg", "secret.jpg", "in/../secret.jpg", "in/%2e%2e/secret.jpg"]
    body = b"\n".join(json.dumps({"photo": f"s3://public/hosting/{one}"}).encode() for one in asked)
    with hosted(tmp_path, "--bundle", "open", "--allow-s3", "s3://public/hosting/in") as host:
        host.comes_up()
        found = rows(host.post(body, LINES))
    assert "count" in found[0]
    assert "does not exist" in found[1]["error"]["what"]
    assert all("below s3://public/hosting/in/" in one["error"]["why"] for one in found[2:])


@pytest.mark.parametrize(
    "address",
    ["s3://b/p", "s3://b/pq/a.jpg", "s3://b/p/../a.jpg", "s3://b/p/./a.jpg", "s3://b/p//a.jpg", "s3://b/p/a\\..\\b.jpg",
     "s3://b/p/%2e%2e/a.jpg", "s3://c/p/a.jpg", "s3://b/p/a.jpg?versionId=1", "s3://b/p/a\n.jpg", "s3:///b/p/a.jpg"],
)  # fmt: skip
def test_an_address_that_leaves_the_prefix_is_refused(address: str) -> None:
    hosting.refuse_outside("s3://b/p/x/a photo.jpg", "s3://b/p/")
    with pytest.raises(InputError, match="may not be read"):
        hosting.refuse_outside(address, "s3://b/p/")


def test_in_a_container_no_option_is_needed_and_the_log_holds_no_photo(tmp_path: Path, photos: list[Photo]) -> None:
    bundles.save(bundles.load("open"), tmp_path / "model")
    (tmp_path / "model" / "code").mkdir()
    (tmp_path / "model" / "code" / "inference.py").write_text("raise SystemExit('never run')")
    with hosted(tmp_path, environment={"SM_MODEL_DIR": str(tmp_path / "model")}) as host:
        host.comes_up()
        assert host.post(wire.line("the secret's name", photos[0].data), LINES).status_code == 200
        host.process.terminate()
        assert host.process.wait(30) == 0
        log = host.log.read_text()
    assert "invocations status=200 photos=1 ms=" in log
    assert "secret" not in log
    assert log.count("ping") <= 2


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "binventory serve --hosting"), (("--hosting", "--allow-s3", "x"), "names no bucket"),
     (("--hosting", "--host", "192.0.2.1"), "192.0.2.1:8080 cannot be listened at")],
)  # fmt: skip
def test_what_cannot_be_served_is_told_in_a_sentence(words: tuple[str, ...], said: str) -> None:
    done = subprocess.run([sys.executable, "-m", "binventory", "serve", *words], capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    assert done.returncode in (2, 4)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
