"""An HTTP proxy on loopback that stands before the S3 server, fails as planned, and remembers what it was asked."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("503", "500", "429", "reset", "reset in body", "truncate", "short", "long", "damage", "drip", "stall")
"""What may go wrong once and right the next time: statuses; the connection reset before or in the body; a body that
ends too early; a length stated too small or too large; another body of the right length; a body that comes too
slowly; no answer at all. Beside these, a status with S3's code and message: ``403 AccessDenied: not you``."""


@dataclass(slots=True)
class Request:
    """One request as the proxy saw it. ``whole``: a body with status 200 was passed on to its last byte."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    whole: bool = False


@dataclass(slots=True)
class Proxy:
    """Plans and memory of a running proxy. ``slow``: seconds that every body takes, to be in time for a kill."""

    endpoint: str
    plans: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    always: dict[str, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    slow: float = 0.0
    closing: threading.Event = field(default_factory=threading.Event)

    def fail(self, path: str, *faults: str) -> None:
        """Let the next requests for what ends in ``path`` fail so, one after the other, then no more."""
        self.plans[path].extend(faults)

    def fault(self, path: str) -> str | None:
        """What is to go wrong with a request."""
        for ending, fault in self.always.items():
            if path.endswith(ending):
                return fault
        for ending, plan in self.plans.items():
            if path.endswith(ending) and plan:
                return plan.popleft()
        return None

    def asked(self, ending: str = "") -> list[str]:
        """The paths asked for that end so, in order."""
        return [one.path for one in self.requests if one.path.endswith(ending)]


@contextmanager
def before(upstream: str) -> Iterator[Proxy]:
    """A proxy before the server at ``upstream``, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            _answer(self, proxy, upstream)

        def do_PUT(self) -> None:
            _answer(self, proxy, upstream)

        def do_POST(self) -> None:
            _answer(self, proxy, upstream)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # whoever asked has gone

    server = Server(("127.0.0.1", 0), Handler)
    proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(client: BaseHTTPRequestHandler, proxy: Proxy, upstream: str) -> None:
    sent = client.rfile.read(int(client.headers.get("Content-Length", 0)))
    seen = Request(client.command, urlsplit(client.path).path, dict(client.headers.items()))
    proxy.requests.append(seen)
    fault = proxy.fault(seen.path)
    if fault == "reset":
        return _reset(client)
    if fault == "stall":
        proxy.closing.wait(30)
        return _reset(client)
    number, _, code = (fault or "").partition(" ")
    if number.isdecimal():
        seen.status = int(number)
        name, _, message = code.partition(": ")
        said = f"<Error><Code>{name or 'Planned'}</Code><Message>{message}</Message></Error>".encode()
        return _send(client, seen.status, {}, b"" if client.command == "HEAD" else said)
    status, headers, body = _ask(client, upstream, sent)
    seen.status = status
    stated = {"short": len(body) // 2, "long": len(body) + 1000}.get(fault or "", len(body))
    headers["Content-Length"] = str(stated)
    if fault == "damage":
        body = bytes(255 - byte for byte in body)
    if fault in ("truncate", "reset in body"):
        _send(client, status, headers, body[: len(body) // 2])
        return _reset(client) if fault == "reset in body" else _end(client)
    if fault == "long":
        _send(client, status, headers, body)
        proxy.closing.wait(30)
        return _end(client)
    if fault == "drip":
        _send(client, status, headers, b"")
        for byte in body:
            if proxy.closing.wait(0.02):
                break
            client.wfile.write(bytes([byte]))
        return _end(client)
    if proxy.slow:
        time.sleep(proxy.slow)
    _send(client, status, headers, body[:stated])
    seen.whole = status == 200 and fault is None
    return None


def _ask(client: BaseHTTPRequestHandler, upstream: str, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """The server's own answer; the request's Host stays as it is, for signatures hold it."""
    connection = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=30)
    try:
        connection.putrequest(client.command, client.path, skip_host=True, skip_accept_encoding=True)
        for name, value in client.headers.items():
            if name.lower() != "connection":
                connection.putheader(name, value)
        connection.endheaders(sent or None)
        answer = connection.getresponse()
        body = answer.read()
        dropped = ("connection", "transfer-encoding", "keep-alive")
        return answer.status, {k: v for k, v in answer.getheaders() if k.lower() not in dropped}, body
    finally:
        connection.close()


def _send(client: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
    client.send_response_only(status)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        client.send_header(name, value)
    client.end_headers()
    client.wfile.write(body)
    client.wfile.flush()


def _end(client: BaseHTTPRequestHandler) -> None:
    client.close_connection = True


def _reset(client: BaseHTTPRequestHandler) -> None:
    """End the connection with a reset instead of an orderly close."""
    client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close_connection = True
    with suppress(OSError):
        client.connection.close()
