"""A topic's page and its API: searching its records, one record whole, and a live tail.

A search answers as it goes, one JSON object a line: `record`, `progress`, and an `end` with why it
ended and where another would go on, or an `error`. Closing the request stops it.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, Literal

from aiohttp import ClientConnectionResetError, web
from pydantic import ConfigDict, Field

from streams.bridge import direct
from streams.bridge.topics import TopicInfo
from streams.errors import GatewayUnavailable
from streams.inspection.expression import BadExpression, Expression
from streams.inspection.record import RecordView, view
from streams.inspection.scan import End, Filter, NoSuchTopic, Progress, Query, find_topic, scan
from streams.inspection.tail import News, tail
from streams.post import reaching
from web.errors import AWAY, ApiError
from web.inputs import MAX_SEQUENCE, Input, read
from web.operator import operator, operator_page, unmasked
from web.room import ROOM, Room

SEARCHES_AT_ONCE: Final = 4
"""Searches of one process: each takes time from those who chat."""
COLUMNS: Final = 12
LIMIT: Final = 10_000
HEARTBEAT: Final = 20.0  # seconds
TELL_SECONDS: Final = 2.0
"""Silence after which a tail says that it is still there."""

_SEARCHES: Final = web.AppKey("searches", asyncio.Semaphore)
_STOPPING: Final = web.AppKey("stopping", asyncio.Event)


class Wanted(Input):
    """The query of a search or a tail, as it stands in the address."""

    model_config = ConfigDict(strict=False, extra="ignore", hide_input_in_errors=True)

    order: Literal["newest", "oldest"] = "newest"
    offset: int | None = Field(None, ge=0, le=MAX_SEQUENCE)
    at: datetime | None = None
    partition: int | None = Field(None, ge=0)
    key: str | None = None
    text: str | None = None
    where: str | None = None
    column: list[str] = Field([], max_length=COLUMNS)
    limit: int = Field(100, ge=1, le=LIMIT)
    full: bool = Field(False, description="Whole records, not rows for a list.")
    download: bool = Field(False, description="Whole records and nothing else, as a file.")

    def filter(self, *, unmask: bool) -> Filter:
        """Return which records are wanted."""
        where = None if self.where is None else _expression("where", self.where)
        return Filter(self.partition, self.key, self.text, where, unmask)

    def columns(self) -> list[Expression]:
        """Return the fields that a list shows."""
        return [_expression("column", text) for text in self.column]

    def query(self, topic: str, wanted: Filter) -> Query:
        """Return the search."""
        at = self.at
        if at is not None and at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return Query(
            topic,
            wanted,
            newest_first=self.order == "newest",
            offset=self.offset,
            at=None if at is None else at.timestamp(),
            limit=self.limit,
        )


def setup(app: web.Application) -> None:
    """Offer the page of every topic, and the API under `/api/streams/{topic}/records`."""
    app[_SEARCHES] = asyncio.Semaphore(SEARCHES_AT_ONCE)
    app[_STOPPING] = asyncio.Event()
    app.on_shutdown.append(_stop)
    app.router.add_get("/streams/{topic}", operator_page("browse.html"))
    app.router.add_get("/api/streams/{topic}/records", records)
    app.router.add_get("/api/streams/{topic}/records/{offset}", record)
    app.router.add_get("/api/streams/{topic}/tail", follow)


async def records(request: web.Request) -> web.StreamResponse:
    """`GET /api/streams/{topic}/records`: search, as `Wanted` says; answers line by line."""
    operator(request)
    wanted = _wanted(request)
    columns = wanted.columns()
    wanted.filter(unmask=False)  # what is wrong with it is said before anything is written down
    info = await _topic(request, wanted)
    searches = request.app[_SEARCHES]
    if searches.locked():
        raise ApiError(
            429,
            "busy",
            f"{SEARCHES_AT_ONCE} searches are under way already. Stop one, or try again soon.",
            retry_after=5,
        )
    async with searches:
        unmask = await unmasked(request, f"topic {info.topic}")
        room = request.app[ROOM]
        query = wanted.query(info.topic, wanted.filter(unmask=unmask))
        response = web.StreamResponse(
            headers={"Content-Type": "application/x-ndjson", "X-Accel-Buffering": "no"}
        )
        if wanted.download:
            name = "".join(char if char.isalnum() or char in "._-" else "_" for char in info.topic)
            response.headers["Content-Disposition"] = f'attachment; filename="{name}.jsonl"'
        await response.prepare(request)
        lines = _lines(room, query, wanted, columns)
        with suppress(ClientConnectionResetError):  # they have stopped it
            async with aclosing(lines):
                async for line in lines:
                    await response.write(line.encode() + b"\n")
                    if request.app[_STOPPING].is_set():
                        break
            await response.write_eof()
        return response


async def _lines(
    room: Room, query: Query, wanted: Wanted, columns: list[Expression]
) -> AsyncGenerator[str, None]:
    try:
        results = scan(room.gateway.client, room.settings.prefix, query)
        async with aclosing(results):
            async for each in results:
                match each:
                    case RecordView() if wanted.download:
                        yield each.model_dump_json()
                    case RecordView() if wanted.full:
                        yield _line("record", record=each.model_dump(mode="json"))
                    case RecordView():
                        yield _line("record", record=each.row(columns))
                    case Progress() if not wanted.download:
                        yield _line("progress", progress=_progress(each))
                    case End() if not wanted.download:
                        yield _line(
                            "end",
                            reason=each.reason,
                            go_on=each.go_on,
                            progress=_progress(each.progress),
                        )
    except (GatewayUnavailable, NoSuchTopic):
        yield _line("error", message=AWAY)


async def record(request: web.Request) -> web.Response:
    """`GET /api/streams/{topic}/records/{offset}`: one record whole; 404 if it is not there."""
    operator(request)
    info = await _topic(request)
    text = request.match_info["offset"]
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise ApiError(404, "not_found", "An offset is a whole number.")
    offset = int(text)
    client = request.app[ROOM].gateway.client
    subjects = Filter().subjects(info)
    with reaching("the record cannot be read"):
        found = await direct.first(client, info.stream, subjects, sequence=offset)
    if found is None or found.record.offset != offset:
        raise ApiError(
            404,
            "not_found",
            f"There is no record at offset {offset} of {info.topic}: it is gone, or of another "
            "topic that shares the stream.",
        )
    unmask = await unmasked(request, f"{info.topic}/{found.record.partition}/{offset}")
    shown = await asyncio.to_thread(view, found, unmask=unmask)
    return web.json_response(text=shown.model_dump_json())


async def follow(request: web.Request) -> web.StreamResponse:
    """`GET /api/streams/{topic}/tail`: a WebSocket with what comes from now on.

    Frames are `news` with rows, how many records were read and how many passed over, or `error`,
    after which the socket closes. While a client is slow nothing is kept for it.
    """
    operator(request)
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT)
    await socket.prepare(request)
    room = request.app[ROOM]
    room.sockets.add(socket)
    with suppress(ClientConnectionResetError):
        try:
            wanted = _wanted(request)
            columns = wanted.columns()
            wanted.filter(unmask=False)
            info = await _topic(request, wanted)
            unmask = await unmasked(request, f"topic {info.topic}")
            news = tail(
                room.gateway.client,
                room.settings.prefix,
                info.topic,
                wanted.filter(unmask=unmask),
            )
            async with aclosing(news), _until_closed(socket):
                await _tell(socket, news, columns)
        except ApiError as error:
            await socket.send_json({"type": "error", "message": error.message})
        except (GatewayUnavailable, NoSuchTopic):
            await socket.send_json({"type": "error", "message": AWAY})
        await socket.close()
    return socket


async def _tell(
    socket: web.WebSocketResponse, news: AsyncIterator[News], columns: list[Expression]
) -> None:
    loop = asyncio.get_running_loop()
    told = float("-inf")
    seen = 0
    async for each in news:
        seen += each.seen
        if each.records or each.dropped or loop.time() - told >= TELL_SECONDS:
            rows = [record.row(columns) for record in each.records]
            # Waits while the client is slow; what comes meanwhile is passed over.
            await socket.send_json(
                {"type": "news", "records": rows, "dropped": each.dropped, "seen": seen}
            )
            told, seen = loop.time(), 0


@asynccontextmanager
async def _until_closed(socket: web.WebSocketResponse) -> AsyncIterator[None]:
    """Leave the block when the client closes the socket."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - handlers run in tasks
    left = False

    async def watch() -> None:
        nonlocal left
        async for _ in socket:
            pass
        left = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not left:
            raise
        task.uncancel()
    finally:
        watcher.cancel()
        await asyncio.wait([watcher])


async def _stop(app: web.Application) -> None:
    app[_STOPPING].set()


def _wanted(request: web.Request) -> Wanted:
    given: dict[str, Any] = {name: value for name, value in request.query.items() if value != ""}
    given["column"] = [value for value in request.query.getall("column", []) if value.strip()]
    return read(Wanted, given, 0)


def _expression(field: str, text: str) -> Expression:
    try:
        return Expression(text)
    except BadExpression as error:
        raise ApiError(
            422, "bad_expression", str(error), field=field, also={"position": error.position}
        ) from None


async def _topic(request: web.Request, wanted: Wanted | None = None) -> TopicInfo:
    room = request.app[ROOM]
    try:
        info = await find_topic(
            room.gateway.client, room.settings.prefix, request.match_info["topic"]
        )
    except NoSuchTopic as error:
        raise ApiError(404, "not_found", str(error)) from None
    if wanted is not None and wanted.partition is not None and wanted.partition >= info.partitions:
        message = f"{info.topic} has {info.partitions} partitions, counted from 0."
        raise ApiError(422, "invalid", message, field="partition")
    return info


def _line(kind: str, **content: Any) -> str:
    return json.dumps({"type": kind, **content}, ensure_ascii=False)


def _progress(progress: Progress) -> dict[str, Any]:
    told = asdict(progress)
    if progress.at is not None:
        told["at"] = datetime.fromtimestamp(progress.at, UTC).isoformat()
    return told
