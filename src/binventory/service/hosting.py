"""SageMaker's hosting contract over a bundle: ``/ping``, ``/invocations``, ``/execution-parameters``, nothing else.

The contract is AWS's ("Use your own inference code with hosting services" and "… with batch transform" in the
developer guide): ``/ping`` answers within two seconds, and 200 only when the model can count; ``/invocations`` takes a
body and answers within a minute; SIGTERM comes thirty seconds before SIGKILL. Refusals are problem JSON (RFC 9457).
No line of the log holds anything of a photo.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from binventory import objects
from binventory.counting import wire
from binventory.counting.bundle import Input
from binventory.counting.counter import BATCH, Counter, decoded, fitted
from binventory.counting.wire import Asked, Stored
from binventory.errors import BinventoryError, InputError, OutsideError, RequestError
from binventory.flow import ahead, chunks
from binventory.photo import Pixels
from binventory.records import Count, Photo
from binventory.service.engine import Engine

log = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024
"""A megabyte as SageMaker counts its payloads."""

PROBLEM = "application/problem+json"
_RETRY_AFTER_S = 2
_GRACE_S = 24
"""How long what is under way may take after SIGTERM: SIGKILL comes after thirty seconds."""

_SMALL = 256 * 1024
"""The largest body that is read between two turns of the event loop: it takes a millisecond."""

_STORED_BYTES = 32 * MEGABYTE
"""The largest photo that is read from S3."""

_LAST_S = 3
"""How long the engine may take to end when all requests are answered."""

_PASSED_OVER = 128 * MEGABYTE
"""How much of a refused body is read before the answer."""

_BATCH_MB = 100
"""What SageMaker allows for parallel batch transforms together, in megabytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``body``: the largest request in bytes; ``waiting``: how many requests may be under way at once; ``receive``:
    the seconds that a body may take to come; ``allow``: the S3 prefix below which photos may be named, if any."""

    body: int = 6 * MEGABYTE
    waiting: int = 32
    receive: float = 30.0
    allow: str | None = None


def app(engine: Engine, limits: Limits) -> Starlette:
    """The application. The engine begins to load when the application starts, and ends with it."""
    hosting = _Hosting(engine, limits)

    @asynccontextmanager
    async def started(_: Starlette) -> AsyncIterator[None]:
        engine.start()
        yield
        if not await run_in_threadpool(engine.stop, _LAST_S):
            log.error("counting hangs, and is left behind")

    return Starlette(
        routes=[
            Route("/ping", hosting.ping, methods=["GET"]),
            Route("/invocations", hosting.invocations, methods=["POST"]),
            Route("/execution-parameters", hosting.execution_parameters, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _unrouted, BinventoryError: _refused, Exception: _broken},
        lifespan=started,
    )


def server(engine: Engine, limits: Limits) -> uvicorn.Server:
    """The web server around the application, not yet running."""
    return uvicorn.Server(uvicorn.Config(
        app(engine, limits),
        http="h11", ws="none", loop="asyncio", lifespan="on", log_config=None, log_level="error", access_log=False,
        server_header=False, proxy_headers=False, timeout_keep_alive=75, timeout_graceful_shutdown=_GRACE_S,
    ))  # fmt: skip


def serve(load: Callable[[], Counter], limits: Limits, listening: socket.socket) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT, then finish what is under way, and come back."""
    # uvicorn raises the signal again when it has drained; by then it has been heeded.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    engine = Engine(load)
    server(engine, limits).run(sockets=[listening])
    if not engine.stop(0):  # a thread within the network's native code cannot be ended, and would abort the process
        logging.shutdown()
        os._exit(1)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at host and port (0: any free one). Raises OutsideError where that may not be."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
        # asyncio asks for this only where a socket names its protocol; without it the second packet of an answer waits
        # for the first one's receipt, which clients put off for 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise OutsideError(f"{host}:{port} cannot be listened at", why, "another --port or --host") from None


class _Hosting:
    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine, self._limits = engine, limits
        self._under_way = 0
        # A hostile photo may take a gibibyte to decode: only so many at once.
        self._decoding = asyncio.Semaphore(os.cpu_count() or 1)
        self._told: str | None = ""

    async def ping(self, _: Request) -> Response:
        trouble = self._engine.trouble()
        if trouble != self._told:  # SageMaker asks every few seconds: only news is worth a line
            log.info("ping: %s", trouble or "healthy")
            self._told = trouble
        if trouble is None:
            return Response(status_code=200)
        return _problem(RequestError("No photo can be counted now", trouble, "ask again in a moment", 503))

    async def execution_parameters(self, _: Request) -> Response:
        """What batch transform should do where its job does not say."""
        megabytes = self._limits.body // MEGABYTE or 1
        parameters = {
            "MaxConcurrentTransforms": max(1, min(4, _BATCH_MB // megabytes)),
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": megabytes,
        }
        return Response(msgspec.json.encode(parameters), media_type=wire.JSON)

    async def invocations(self, request: Request) -> Response:
        begun = time.perf_counter()
        body = _Body(request, self._limits)
        try:
            answer, photos = await self._admitted(request, body)
        except BinventoryError as error:
            await body.passed_over()
            answer, photos = _problem(error), 0
        except ClientDisconnect:
            answer, photos = Response(status_code=499), 0  # nobody reads it; nginx's number, for the log
        milliseconds = (time.perf_counter() - begun) * 1000
        log.info("invocations status=%d photos=%d ms=%.0f", answer.status_code, photos, milliseconds)
        return answer

    async def _admitted(self, request: Request, body: _Body) -> tuple[Response, int]:
        trouble = self._engine.trouble()
        if trouble is not None:
            raise RequestError("No photo can be counted now", trouble, "ask again in a moment", 503)
        if self._under_way >= self._limits.waiting:
            why = f"{self._under_way} requests are under way"
            raise RequestError("The server is busy", why, "ask again in a moment", 429)
        self._under_way += 1
        try:
            return await self._answered(request, body)
        finally:
            self._under_way -= 1

    async def _answered(self, request: Request, body: _Body) -> tuple[Response, int]:
        content_type = request.headers.get("content-type")
        kind = wire.answer_type(request.headers.get("accept"), wire.is_several(content_type))
        data = await body.read()
        small = len(data) <= _SMALL  # a thread costs more than it saves
        asked = wire.asked(content_type, data) if small else await run_in_threadpool(wire.asked, content_type, data)
        del data
        outcomes = await self._outcomes(asked, request)
        write = partial(wire.answer, kind, asked.names, outcomes, asked.several)
        answer = write() if len(outcomes) <= BATCH else await run_in_threadpool(write)
        return Response(answer, media_type=kind), len(outcomes)

    async def _outcomes(self, asked: Asked, request: Request) -> list[Count | BinventoryError]:
        """One outcome a photo, in order: while some are counted, the next are read and decoded."""
        assert self._engine.counter is not None
        size, allow = self._engine.counter.bundle.manifest.input, self._limits.allow
        gone = asyncio.ensure_future(_gone(request))
        outcomes: list[Count | BinventoryError] = []
        before: _Counting | None = None
        try:
            for chunk in chunks(asked.photos, BATCH):
                here = [one for one in chunk if not isinstance(one, Stored)]
                there = here if len(here) == len(chunk) else await run_in_threadpool(_fetched, chunk, allow)
                async with self._decoding:
                    ready = await run_in_threadpool(_decoded, there, size)
                if before is not None:
                    outcomes += await self._counted(before, gone)
                before = _Counting.begun(ready, self._engine)
            if before is not None:
                outcomes += await self._counted(before, gone)
                before = None
        finally:
            gone.cancel()
            if before is not None and before.counts is not None:
                before.counts.cancel()
        return outcomes

    async def _counted(self, counting: _Counting, gone: asyncio.Future[None]) -> list[Count | BinventoryError]:
        """The outcomes, waited for as long as the engine is well and the client there."""
        if counting.counts is None:
            return counting.outcomes([])
        counts = asyncio.wrap_future(counting.counts)
        either: set[asyncio.Future[Any]] = {counts, gone}
        while not counts.done():
            await asyncio.wait(either, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not counts.done():
                counts.cancel()
                raise ClientDisconnect
            trouble = self._engine.trouble()
            if trouble is not None and not counts.done():
                counts.cancel()
                raise RequestError("The photo was not counted", trouble, "ask again in a moment", 503)
        failed = counts.exception()
        if failed is not None:  # the network's failure, whatever its kind, is no fault of the photo
            raise BinventoryError("The photo was not counted", f"the model failed ({failed})", "look into the log")
        return counting.outcomes(counts.result())


class _Body:
    """A request's body as it comes."""

    def __init__(self, request: Request, limits: Limits) -> None:
        self._request, self._limits = request, limits
        self._ended = False

    async def read(self) -> bytes:
        """All of it. Raises RequestError: 413 where it is too large, 408 where it comes too slowly."""
        most, seconds = self._limits.body, self._limits.receive
        stated = self._request.headers.get("content-length", "")
        if stated.isdecimal() and int(stated[:20]) > most:
            raise _too_large(most)
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                while not self._ended:
                    body += await self._piece()
                    if len(body) > most:
                        raise _too_large(most)
        except TimeoutError:
            self._ended = True
            why = f"its body did not come within {seconds:g} seconds"
            raise RequestError("The request came too slowly", why, "send it again", 408) from None
        return bytes(body)

    async def passed_over(self) -> None:
        """Let a client finish sending what is refused: most read no answer before, and would only see a broken pipe."""
        if self._ended or "expect" in self._request.headers:  # who expects a word before sending has got it
            return
        left = _PASSED_OVER
        with suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(self._limits.receive):
                while not self._ended and left > 0:
                    left -= len(await self._piece())

    async def _piece(self) -> bytes:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            self._ended = True
            raise ClientDisconnect
        self._ended = not message.get("more_body", False)
        return bytes(message.get("body", b""))


@dataclass(frozen=True, slots=True)
class _Counting:
    """Photos of which the good ones are being counted (``counts``; None where there is no good one)."""

    ready: Sequence[Pixels | BinventoryError]
    counts: Future[list[Count]] | None

    @classmethod
    def begun(cls, ready: Sequence[Pixels | BinventoryError], engine: Engine) -> _Counting:
        good = [one for one in ready if not isinstance(one, BinventoryError)]
        return cls(ready, engine.count(good) if good else None)

    def outcomes(self, counts: Sequence[Count]) -> list[Count | BinventoryError]:
        rest = iter(counts)
        return [one if isinstance(one, BinventoryError) else next(rest) for one in self.ready]


def _fetched(wanted: Sequence[Photo | Stored | BinventoryError], allow: str | None) -> list[Photo | BinventoryError]:
    """The photos, read where they lie on S3, each or its error."""
    return list(ahead(partial(_there, allow=allow), wanted, threads=8))


def _decoded(there: Sequence[Photo | BinventoryError], size: Input) -> list[Pixels | BinventoryError]:
    return [fitted(there[0], size)] if len(there) == 1 else list(decoded(there, size))


def _there(one: Photo | Stored | BinventoryError, allow: str | None) -> Photo | BinventoryError:
    if not isinstance(one, Stored):
        return one
    try:
        refuse_outside(one.address, allow)
        return Photo(one.address, objects.read(one.address, _STORED_BYTES))
    except BinventoryError as error:
        return error


def refuse_outside(address: str, allow: str | None) -> None:
    """Raise InputError unless an S3 address lies below the prefix ``allow``, spelt plainly.

    S3 keys are plain strings, but what handles them on the way may fold ``..`` or decode ``%2e``, so neither passes.
    """
    if allow is None:
        raise InputError(f"{address} may not be read", "this server reads nothing from S3",
                         "send the photo itself, or serve with --allow-s3 s3://PREFIX")  # fmt: skip
    root = allow.rstrip("/") + "/"
    parts = address.removeprefix("s3://").split("/")
    plain = address.isprintable() and not any(sign in address for sign in "%\\?#")
    if not plain or any(part in ("", ".", "..") for part in parts) or not address.startswith(root):
        raise InputError(f"{address} may not be read", f"it does not lie plainly below {root}", "choose another photo")


async def _gone(request: Request) -> None:
    """Comes back when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _too_large(most: int) -> RequestError:
    why = f"it has more than {most:,} bytes ({most / MEGABYTE:g} MB), the most that this server takes"
    return RequestError("The request is too large", why, "send fewer photos a call, or smaller ones", 413)


def _problem(error: BinventoryError) -> Response:
    """A refusal as problem JSON, with what, why and next beside the sentence."""
    status = error.http_status
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": str(error),
        "error": error.as_row(),
    }
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status in (429, 503) else None
    return Response(msgspec.json.encode(body), status, headers, PROBLEM)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, BinventoryError)
    return _problem(error)


async def _unrouted(request: Request, error: Exception) -> Response:
    """Starlette's own refusals, of a path or method, as problem JSON."""
    assert isinstance(error, HTTPException)
    path, known = request.url.path[:100], "GET /ping, POST /invocations, GET /execution-parameters"
    why = f"{path} does not take {request.method}" if error.status_code == 405 else f"{path} is not known here"
    response = _problem(RequestError("There is nothing to answer", why, known, error.status_code))
    response.headers.update(error.headers or {})
    return response


async def _broken(_: Request, error: Exception) -> Response:
    log.error("a request failed: %s: %s", type(error).__name__, error)
    return _problem(OutsideError("The request failed", f"an error of the server's own ({type(error).__name__})",
                                 "look into its log"))  # fmt: skip
