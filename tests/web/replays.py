"""The pages of replays in front of a folder of runs, as a player writes them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Browser, Page

from streams.gateway import Gateway
from streams.message import Message
from streams.operators.audit import Entry, entries
from streams.replay.comparison import compare
from streams.replay.lines import BadLine
from streams.replay.request import ReplayRequest
from streams.settings import Settings
from tables.results import Result
from tables.run import About, Run
from tables.runs import Runs
from tests.streams.replay.test_comparison import DECISIONS, unanswered
from tests.streams.replay.whole_turn import a_turn, edited, place_of
from tests.streams.small_mesh import connected, settings_apart
from tests.web.operators import bearer, signed_in
from tests.web.served import served
from web import create_web

NAMES = ["same", "intent", "other words", "unanswered", "failed"]


def result(position: int, name: str, said: str | None = None, attempt: int = 1) -> Result:
    recorded = a_turn()
    recorded.id = f"m{position}"
    recorded.payload = recorded.payload.model_copy(update={"text": said or f"turn {position}"})
    replayed: Message | None = recorded.model_copy(deep=True)
    failure = ""
    if name == "failed":
        replayed, failure = None, "it hung"
    elif replayed is not None and name == "unanswered":
        replayed = unanswered(replayed, "response_generator")
    elif replayed is not None and name != "same":
        actor, edit, _ = DECISIONS[name]
        replayed = edited(replayed, place_of(actor), edit)
    return Result(
        position, compare(recorded, replayed, attempt=attempt, failure=failure), recorded, replayed
    )


@dataclass
class Room:
    """The pages in front of a folder of runs. What they begin is written down here."""

    settings: Settings
    gateway: Gateway
    runs: Runs
    http: aiohttp.ClientSession
    url: str = ""
    asked: list[ReplayRequest] = field(default_factory=list)

    async def start(self, request: ReplayRequest) -> str:
        """Begin a replay, as far as its run: who plays it is not the pages' concern."""
        self.asked.append(request)
        with self.runs.create(About(source=request.source, request=request)) as run:
            run.add([result(0, "intent")])
            run.end()
            return run.name

    def run(self, *names: str, **about: Any) -> Run:
        """Return a finished run of turns of these kinds."""
        told = {"source": "the journal", "request": ReplayRequest(), "code": "c0de"} | about
        with self.runs.create(About.model_validate(told)) as run:
            run.add([result(place, name) for place, name in enumerate(names)], [BadLine(7, "odd")])
            run.end()
            return run

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return status and JSON of a request of an operator."""
        headers = bearer(self.settings)
        url = f"{self.url}/api/replay{path}"
        async with self.http.request(method, url, headers=headers, **options) as answer:
            return answer.status, await answer.json()

    async def audit(self, target: str) -> list[Entry]:
        return await entries(self.gateway.client, self.settings, target=target)

    async def visit(self, browser: Browser, path: str, **options: Any) -> Page:
        return await signed_in(browser, f"{self.url}{path}", self.settings, **options)


@asynccontextmanager
async def running_room(nats_url: str, folder: Path) -> AsyncIterator[Room]:
    """Serve the pages."""
    settings = settings_apart(nats_url, folder)
    async with connected(settings) as gateway, aiohttp.ClientSession() as http:
        room = Room(settings, gateway, Runs(settings.data_dir), http)
        async with served(create_web(settings, gateway, None, room.start)) as room.url:
            yield room
