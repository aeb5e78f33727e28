"""Replays for operators: begin one, follow it, see what changed, and ask what if."""

import asyncio
import threading
import time
from contextlib import suppress
from typing import Final

from aiohttp import web
from pydantic import Field

from streams.errors import GatewayUnavailable
from streams.masking import mask
from streams.message import Hop, Message
from streams.operators.audit import Entry, append
from streams.payload import SLOTS, IntentName, Json
from streams.replay.comparison import ASPECTS, VERDICTS, Aspect, Verdict, compare_hops
from streams.replay.request import ACTORS, THE_JOURNAL, WORKERS_MOST, ReplayRequest, WhatIf
from streams.replay.rerun import following
from streams.replay.shelf import recordings
from streams.replay.spread import spread
from streams.replay.words import leading_in_words
from streams.topics import JOURNAL
from tables import run_comparison
from tables.results import Result, Row, Wanted
from tables.run import Listed, Run, Stopped
from tables.run_file import NoSuchRun, RunIsWritten
from tables.runs import Runs
from web.drafts import ROUTING
from web.errors import ApiError
from web.events import Events, events
from web.inputs import Input, read
from web.lookout import LOOKOUT
from web.operator import Operator, body, operator, operator_page, unmasked
from web.room import ROOM

LOOK_EVERY: Final = 0.5  # seconds
BEGINS_WITHIN: Final = 30.0  # seconds after which a replay that is not there has not begun
MOST_AT_ONCE: Final = 3  # replays under way: each has workers of its own
MOST_TEXT: Final = 200  # characters looked for
PAGE: Final = 50  # turns

RUNS: Final = web.AppKey("runs", Runs)


class Comparing:
    """The comparisons that are under way, each in a thread, and the word that they are to stop."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.stop = threading.Event()


COMPARING: Final = web.AppKey("comparing", Comparing)


class Filters(Input):
    """`GET …/turns`: which turns of a run, and behind which."""

    verdict: Verdict | None = None
    aspect: Aspect | None = None
    actor: str | None = None
    intent: str | None = None
    text: str | None = Field(None, max_length=MOST_TEXT)
    all: str = ""
    position: int = Field(-1, strict=False)
    attempt: int = Field(0, strict=False)

    def wanted(self) -> Wanted:
        """Return it as a run takes it."""
        return Wanted(
            verdict=self.verdict,
            changed=self.all != "1",
            aspect=self.aspect,
            actor=self.actor,
            intent=self.intent,
            text=self.text,
        )


class Two(Input):
    """`POST …/compare`: the two runs."""

    first: str
    second: str


class Edit(Input):
    """`POST …/what-if`: what one actor is made to say, and where the turn goes then."""

    hop: int
    slots: Json
    steps: list[str] | None = None
    live: bool = False
    """Whether the actors behind it ask model and mock shop, where the recording cannot answer."""


def setup(app: web.Application) -> None:
    """Offer the pages and their API."""
    app[RUNS] = Runs(app[ROOM].settings.data_dir)
    app[COMPARING] = Comparing()
    app.on_shutdown.append(_leave)
    app.router.add_get("/replay", operator_page("replay.html"))
    app.router.add_get("/replay/{run}", operator_page("replay_run.html"))
    app.router.add_get("/replay/{run}/{position:\\d+}", operator_page("replay_turn.html"))
    base = "/api/replay"
    app.router.add_get(base, listed)
    app.router.add_post(base, start)
    app.router.add_post(f"{base}/compare", compare)
    app.router.add_get(f"{base}/{{run}}", shown)
    app.router.add_delete(f"{base}/{{run}}", delete)
    app.router.add_post(f"{base}/{{run}}/again", again)
    app.router.add_post(f"{base}/{{run}}/stop", stop)
    app.router.add_get(f"{base}/{{run}}/live", live)
    app.router.add_get(f"{base}/{{run}}/turns", turns)
    turn = f"{base}/{{run}}/turns/{{position:\\d+}}"
    app.router.add_get(turn, whole)
    app.router.add_post(f"{turn}/what-if", what_if)


async def listed(request: web.Request) -> web.Response:
    """`GET /api/replay`: all runs, the newest first, and what a new one may be made of."""
    operator(request)
    room = request.app[ROOM]
    found = await asyncio.to_thread(request.app[RUNS].listed)
    shelf = await asyncio.to_thread(recordings, room.settings.data_dir)
    return web.json_response(
        {
            "runs": [_run_told(run) for run in found],
            "journal": await _journal(request),
            "recordings": [
                {"name": one.name, "size": one.size, "at": one.changed_at.isoformat()}
                for one in shelf
            ],
            "can_start": room.start_replay is not None,
            "actors": list(ACTORS),
            "intents": [intent.value for intent in IntentName],
            "workers_most": WORKERS_MOST,
        }
    )


async def start(request: web.Request) -> web.Response:
    """`POST /api/replay`: begin a replay; the answer names its run.

    Its source is the journal, or a recording in the data folder by its name: other files of this
    machine are not for pages.
    """
    operator(request)
    asked = read(ReplayRequest, await body(request), MOST_TEXT)
    if asked.what_if is not None:
        raise ApiError(422, "invalid", "what_if: begins at a turn of a run", field="what_if")
    if asked.source == THE_JOURNAL:
        return await _start(request, asked)
    for one in await asyncio.to_thread(recordings, request.app[ROOM].settings.data_dir):
        if one.name == asked.source:
            return await _start(request, asked.model_copy(update={"source": str(one.path)}))
    raise ApiError(422, "invalid", "source: there is no such recording", field="source")


async def again(request: web.Request) -> web.Response:
    """`POST /api/replay/RUN/again`: the same once more, with the code as it is now."""
    operator(request)
    return await _start(request, await _request_of(request))


async def what_if(request: web.Request) -> web.Response:
    """`POST …/turns/N/what-if`: replay one turn from behind a hop whose output was edited."""
    operator(request)
    edit = read(Edit, await body(request), MOST_TEXT)
    before = await _request_of(request)
    run, position, attempt = _place(request)
    result = await _result(run, position, attempt)
    turn = result.recorded
    if not 0 <= edit.hop < len(turn.trace):
        raise ApiError(422, "invalid", "hop: the recorded turn has none there", field="hop")
    asked = read(
        WhatIf,
        {
            "session_id": turn.session_id,
            "message_id": turn.id,
            **edit.model_dump(exclude={"live"}),
        },
        MOST_TEXT,
    )
    return await _start(
        request,
        ReplayRequest(
            source=before.source,
            session=turn.session_id,
            mode="live" if edit.live else before.mode,
            live=before.live,
            what_if=asked,
        ),
    )


async def compare(request: web.Request) -> web.Response:
    """`POST /api/replay/compare`: compare two runs; the answer names the run that holds it."""
    operator(request)
    asked = read(Two, await body(request), MOST_TEXT)
    runs = request.app[RUNS]
    with _told():
        into = await asyncio.to_thread(run_comparison.begin, runs, asked.first, asked.second)

    under_way = request.app[COMPARING]

    def fill() -> None:
        # What goes wrong is said by the run itself.
        with into, suppress(NoSuchRun, Stopped):
            run_comparison.fill(into, runs, under_way.stop.is_set)

    task = asyncio.create_task(asyncio.to_thread(fill))
    under_way.tasks.add(task)
    task.add_done_callback(under_way.tasks.discard)
    return web.json_response({"run": into.name}, status=202)


async def shown(request: web.Request) -> web.Response:
    """`GET /api/replay/RUN`: what a run is and what it came to."""
    operator(request)
    with _told():
        run = await asyncio.to_thread(_run(request).listed)
        bad = await asyncio.to_thread(_run(request).bad_lines)
    lines = [{"number": line.number, "reason": line.reason} for line in bad]
    return web.json_response({**_run_told(run), "bad_lines": mask(lines)})


async def live(request: web.Request) -> web.StreamResponse:
    """`GET /api/replay/RUN/live`: the same as events while it goes on; `ended` is the last.

    A run that was just begun may not be there yet: it is waited for.
    """
    operator(request)
    due = time.monotonic() + BEGINS_WITHIN
    name = request.match_info["run"]
    async with events(request) as page:
        while (run := await _begun(request, name)) is None:
            if time.monotonic() > due:
                told = f"Replay {name} has not begun; its log says why: logs/replay-{name}.log."
                await page.send("gone", {"message": told})
                return page.response
            await page.keep_alive()
            await asyncio.sleep(LOOK_EVERY)
        await _follow(page, run)
    return page.response


async def turns(request: web.Request) -> web.Response:
    """`GET /api/replay/RUN/turns`: turns that are not the same, filtered, page by page."""
    operator(request)
    filters = read(Filters, dict(request.query), MOST_TEXT)
    name = request.match_info["run"]
    unmask = await unmasked(request, f"replay {name}")
    wanted, after = filters.wanted(), (filters.position, filters.attempt)
    with _told():
        run = _run(request)
        rows = await asyncio.to_thread(run.turns, wanted, after, PAGE + 1)
        count = await asyncio.to_thread(run.count, wanted)
    found = [_row_told(row) for row in rows[:PAGE]]
    return web.json_response(
        {
            "turns": found if unmask else mask(found),
            "count": count,
            "more": len(rows) > PAGE,
            "masked": not unmask,
        }
    )


async def whole(request: web.Request) -> web.Response:
    """`GET /api/replay/RUN/turns/N?attempt=`: one turn on both sides, hop by hop."""
    operator(request)
    run, position, attempt = _place(request)
    unmask = await unmasked(request, f"replay {run.name}")
    result = await _result(run, position, attempt)
    with _told():
        told = await asyncio.to_thread(_turn_told, run, result, unmask)
    return web.json_response(told)


async def stop(request: web.Request) -> web.Response:
    """`POST /api/replay/RUN/stop`: have a replay that is under way end; it can be gone on with."""
    asks = operator(request)
    name, runs = request.match_info["run"], request.app[RUNS]
    with _told():
        await asyncio.to_thread(runs.under_way, name)
        await _written_down(request, asks, "stop")
        await asyncio.to_thread(runs.stop, name, f"It was stopped by {asks.name}.")
    return web.json_response({})


async def delete(request: web.Request) -> web.Response:
    """`DELETE /api/replay/RUN`: delete a run that is not under way."""
    asks = operator(request)
    name, runs = request.match_info["run"], request.app[RUNS]
    with _told():
        await asyncio.to_thread(runs.ended, name)
        await _written_down(request, asks, "delete")
        await asyncio.to_thread(runs.delete, name)
    return web.json_response({})


async def _written_down(request: web.Request, asks: Operator, action: str) -> None:
    """Put into the audit what is about to be done to a run."""
    room, target = request.app[ROOM], f"replay {request.match_info['run']}"
    entry = Entry(operator=asks.name, action=action, target=target)
    await append(room.gateway.client, room.settings, entry)


# Beginning


async def _start(request: web.Request, asked: ReplayRequest) -> web.Response:
    asks = operator(request)
    room = request.app[ROOM]
    if room.start_replay is None:
        raise ApiError(
            501, "not_here", "This process starts no replays: use `python app.py replay`."
        )
    if asked.shop != "mock":
        raise ApiError(
            422,
            "invalid",
            "shop: a page asks the mock alone; what a real shop is asked, it does. "
            "Use `python app.py replay`.",
            field="shop",
        )
    if asked.against is not None:
        with _told():
            await asyncio.to_thread(request.app[RUNS].open, asked.against)
    found = await asyncio.to_thread(request.app[RUNS].listed)
    if sum(run.about.state == "running" for run in found) >= MOST_AT_ONCE:
        raise ApiError(
            409, "busy", f"{MOST_AT_ONCE} replays are under way. Wait until one has ended."
        )
    edited = asked.what_if
    entry = Entry(
        operator=asks.name,
        action="replay",
        target=f"conversation {asked.session}" if asked.session else asked.source,
        # Not the filter, nor what was edited: that may hold personal data.
        detail={
            "mode": asked.mode,
            "live": asked.live,
            **({"edited": f"turn {edited.message_id} hop {edited.hop}"} if edited else {}),
        },
    )
    await append(room.gateway.client, room.settings, entry)
    return web.json_response({"run": await room.start_replay(asked)}, status=202)


async def _journal(request: web.Request) -> Json | None:
    """Return how much the journal holds; None while the broker is away."""
    with suppress(GatewayUnavailable):
        for topic in (await request.app[LOOKOUT].look()).topics:
            if topic.name == JOURNAL:
                return topic.model_dump(include={"messages", "bytes", "retention_seconds"})
    return None


async def _request_of(request: web.Request) -> ReplayRequest:
    """Return what a run was asked to do; 422 if it was not asked for but made of others."""
    with _told():
        about = await asyncio.to_thread(_run(request).about)
    if about.request is None:
        raise ApiError(422, "invalid", "This run was not made by a replay of its own.")
    return about.request


# Reading


class _told:
    """Answers 404 for a run that is not there, and 409 for one that is being written."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NoSuchRun):
            raise ApiError(404, "not_found", str(error)) from error
        if isinstance(error, RunIsWritten):
            raise ApiError(409, "busy", str(error)) from error


def _run(request: web.Request) -> Run:
    with _told():
        return request.app[RUNS].open(request.match_info["run"])


def _place(request: web.Request) -> tuple[Run, int, int]:
    attempt = request.query.get("attempt", "1")
    position = request.match_info["position"]
    if not (attempt.isdecimal() and len(attempt) < 5 and len(position) < 16):
        raise ApiError(404, "not_found", "There is no such turn in this replay.")
    return _run(request), int(position), int(attempt)


async def _result(run: Run, position: int, attempt: int) -> Result:
    with _told():
        found = await asyncio.to_thread(run.turn, position, attempt)
    if found is None:
        raise ApiError(404, "not_found", "There is no such turn in this replay.")
    return found


async def _begun(request: web.Request, name: str) -> Run | None:
    with suppress(NoSuchRun):
        return await asyncio.to_thread(request.app[RUNS].open, name)
    return None


async def _follow(page: Events, run: Run) -> None:
    """Tell what a run has come to, as often as that changes, until it is over."""
    before: Json | None = None
    while True:
        try:
            now = await asyncio.to_thread(run.listed)
        except NoSuchRun as error:
            await page.send("gone", {"message": str(error)})
            return
        told = _run_told(now)
        if told != before:
            await page.send("run", told)
        else:
            await page.keep_alive()
        before = told
        if now.about.state != "running":
            await page.send("ended", {})
            return
        await asyncio.sleep(LOOK_EVERY)


async def _leave(app: web.Application) -> None:
    """Let comparisons that are under way end as interrupted."""
    app[COMPARING].stop.set()
    await asyncio.gather(*app[COMPARING].tasks, return_exceptions=True)


# Telling


def _run_told(run: Listed) -> Json:
    """Return a run as the pages show it: who looks for something may have named a customer."""
    told = run.model_dump(mode="json")
    return {
        **told,
        "about": mask({**told["about"], "settings": {}}),
        "verdicts": list(VERDICTS),
        "aspects": list(ASPECTS),
        "can_repeat": run.about.request is not None,
    }


def _row_told(row: Row) -> Json:
    turn = row.comparison
    reply = turn.aspects.get("reply")
    return {
        "position": row.position,
        "attempt": turn.attempt,
        "said": row.said,
        "session_id": turn.session_id,
        "message_id": turn.message_id,
        "turn": turn.turn,
        "intent": turn.intent,
        "verdict": turn.verdict,
        "reason": turn.reason,
        "aspects": {name: found.verdict for name, found in turn.aspects.items()},
        "score": reply.score if reply else None,
        "leading": leading_in_words(turn),
    }


def _turn_told(run: Run, result: Result, unmask: bool) -> Json:
    turn, recorded, replayed = result.comparison, result.recorded, result.replayed
    attempts = run.attempts(result.position)
    hops = compare_hops(recorded, replayed) if replayed is not None else []
    told = {
        **turn.model_dump(mode="json"),
        "run": run.name,
        "position": result.position,
        "said": recorded.payload.text,
        "at": recorded.payload.at.isoformat(),
        "leading": leading_in_words(turn),
        "hops": [hop.model_dump(mode="json") for hop in hops],
        "was": _trace_told(recorded),
        "now": _trace_told(replayed) if replayed is not None else [],
        "attempts": [one.comparison.attempt for one in attempts],
        "spread": (
            spread([one.replayed for one in attempts]).model_dump(mode="json")
            if len(attempts) > 1
            else None
        ),
    }
    shown: Json = told if unmask else mask(told)
    asked = run.about().request
    shown["can_edit"] = asked is not None
    shown["edited"] = asked.what_if.hop if asked is not None and asked.what_if else None
    for place, hop in enumerate(recorded.trace):
        # What is hidden would be sent back as it is shown: to edit it one has to see it.
        shown["was"][place]["hidden"] = shown["was"][place]["added"] != hop.added
        shown["was"][place]["steps"] = following(recorded.trace, place)
    return {**shown, "masked": not unmask, "slots": list(SLOTS), **ROUTING}


def _trace_told(message: Message) -> list[Json]:
    return [_hop_told(hop) for hop in message.trace]


def _hop_told(hop: Hop) -> Json:
    return {
        **hop.model_dump(mode="json", include={"actor", "outcome", "added", "notes", "code"}),
        "duration_ms": hop.duration_ms,
        "error": hop.error,
        "asked": [
            {"target": one.target, "error": one.error, "duration_ms": one.duration_ms}
            for one in hop.exchanges
        ],
    }
