"""The wire itself: HTTP in, operations by their targets, AWS's own refusals out.

A part of the service registers what it answers:

    wire.on("SageMaker.CreateTrainingJob", answer)          # JSON 1.1, by X-Amz-Target: dict in, dict out
    wire.route("POST", r"/endpoints/([^/]+)/invocations", answer)    # plain HTTP, by path: Request in, Reply out

What botocore's model of a service refuses never reaches an answer. An answer raises ``RefusalError`` to refuse.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from binventory.cloud import contract

ACCOUNT = "123456789012"
REGION = "eu-central-1"
# The first word of X-Amz-Target, and what botocore calls that service.
SERVICES = {"SageMaker": "sagemaker", "Logs_20140328": "logs", "AnyScaleFrontendService": "application-autoscaling"}


class RefusalError(Exception):
    """An answer that is AWS's error: its code, its message, its HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is no JSON 1.1: method, path, headers, body, and what the route's pattern caught."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    caught: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a route answers."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[dict[str, Any]], Mapping[str, Any]]
RouteAnswer = Callable[[Request], Reply]


class Wire:
    """The service's books: operations by target, routes by path, what was asked, and which faults come next."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.lock = threading.RLock()
        """Held by whoever changes or reads what jobs and endpoints are."""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """Every request that came, by operation, refused ones too."""
        self._answers: dict[str, Answer] = {}
        self._routes: list[tuple[str, re.Pattern[str], RouteAnswer]] = []
        self._faults: dict[str, list[RefusalError | bytes]] = {}
        self._then: dict[str, Callable[[], None]] = {}
        self._endings: list[Callable[[], None]] = []
        self.route("POST", "/", self._query)

    def on(self, target: str, answer: Answer) -> None:
        """Answer a JSON 1.1 operation. Datetimes in what is answered become seconds, None is left out."""
        self._answers[target] = answer

    def route(self, method: str, pattern: str, answer: RouteAnswer) -> None:
        """Answer a path that matches the pattern whole."""
        self._routes.append((method, re.compile(pattern), answer))

    def ending(self, end: Callable[[], None]) -> None:
        """Have ``end`` called when the server stops: for whatever processes and threads a part has started."""
        self._endings.append(end)

    def fail(self, operation: str, *faults: RefusalError | bytes) -> None:
        """The next answers to an operation (``CreateTrainingJob``, or a path) are these refusals; bytes are sent as a
        body that breaks off in its middle."""
        self._faults.setdefault(operation, []).extend(faults)

    def then(self, operation: str, do: Callable[[], None]) -> None:
        """Have ``do`` called once, when an operation has been done and before it is answered. Where it raises
        ``RefusalError``, what was done stands, and its answer is lost."""
        self._then[operation] = do

    def planned(self, operation: str) -> RefusalError | bytes | None:
        """The fault that is planned for this request, taken out of the plan."""
        with self.lock:
            waiting = self._faults.get(operation)
            return waiting.pop(0) if waiting else None

    def answer(self, target: str, body: bytes) -> bytes:
        """The body that answers a JSON 1.1 request. Raises RefusalError."""
        prefix, _, operation = target.partition(".")
        given = json.loads(body or b"{}")
        self.asked.append((operation, given))
        known = self._answers.get(target)
        if known is None:
            raise RefusalError("UnknownOperationException", f"{target} is not answered here")
        refuse_invalid(SERVICES[prefix], operation, given)
        found = known(given)
        self._then.pop(operation, lambda: None)()
        return json.dumps(found, default=_seconds).encode()

    def routed(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """What a path answers. Raises RefusalError."""
        for wanted, pattern, known in self._routes:
            match = pattern.fullmatch(path.partition("?")[0])
            if match and wanted == method:
                return known(Request(method, path, headers, body, tuple(map(str, match.groups()))))
        raise RefusalError("UnknownOperationException", f"{method} {path} is not answered here", 404)

    def end(self) -> None:
        """End what the parts have started."""
        for end in self._endings:
            end()

    def _query(self, request: Request) -> Reply:
        """STS still speaks the query protocol: GetCallerIdentity alone is answered."""
        if parse_qs(request.body.decode()).get("Action") != ["GetCallerIdentity"]:
            raise RefusalError("InvalidAction", "only GetCallerIdentity is answered here")
        arn = f"arn:aws:iam::{ACCOUNT}:user/tester"
        body = (
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            f"<Arn>{arn}</Arn><UserId>AIDATESTER</UserId><Account>{ACCOUNT}</Account>"
            "</GetCallerIdentityResult></GetCallerIdentityResponse>"
        )
        return Reply(body.encode(), headers={"Content-Type": "text/xml"})


def refuse_invalid(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Refuse, in the service's words, what its model does not allow: types, bounds, enumerations, patterns."""
    found = list(contract.problems(service, operation, request))
    if found:
        listed = "; ".join(f"Value at '{place}' failed to satisfy constraint: {problem}" for place, problem in found)
        plural = "s" if len(found) > 1 else ""
        raise RefusalError("ValidationException", f"{len(found)} validation error{plural} detected: {listed}")


def arn(kind: str, name: str) -> str:
    """The ARN of something of SageMaker's: ``training-job``, ``endpoint`` …"""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def paged(rows: list[dict[str, Any]], request: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A page of a listing, and the token of the next one: as many rows as asked for, ten by default."""
    start = int(request.get("NextToken", "0"))
    stop = start + int(request.get("MaxResults", 10))
    return {key: rows[start:stop]} | ({"NextToken": str(stop)} if stop < len(rows) else {})


def _seconds(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} does not travel")


@contextmanager
def serving() -> Iterator[Wire]:
    """The server, on a free port of loopback, in threads of this process, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            target = self.headers.get("X-Amz-Target", "")
            operation = target.partition(".")[2] or self.path
            try:
                fault = wire.planned(operation)
                if isinstance(fault, RefusalError):
                    wire.asked.append((operation, {}))
                    raise fault
                if isinstance(fault, bytes):
                    self._break_off(fault)
                    return
                if target:
                    reply = Reply(wire.answer(target, body), headers={"Content-Type": "application/x-amz-json-1.1"})
                else:
                    reply = wire.routed(self.command, self.path, dict(self.headers), body)
            except RefusalError as refusal:
                reply = _refused(refusal, bool(target))
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def _break_off(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) * 2))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = _do  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    wire = Wire(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        wire.end()
        server.shutdown()
        server.server_close()
        thread.join(5)


def _refused(refusal: RefusalError, is_json: bool) -> Reply:
    """A refusal as the protocol wants it: the code in the body for JSON 1.1, in a header for REST."""
    body = json.dumps({"__type": refusal.code, "message": refusal.message, "Message": refusal.message}).encode()
    kind = "application/x-amz-json-1.1" if is_json else "application/json"
    return Reply(body, refusal.status, {"Content-Type": kind, "x-amzn-ErrorType": refusal.code})


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is so. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not so after {seconds:g} s")
        time.sleep(0.02)
