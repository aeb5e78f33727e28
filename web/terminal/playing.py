"""One replay from its source to its last turn: each turn played, compared and kept."""

import asyncio
import shutil
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streams.bridge.errors import BridgeError
from streams.errors import MeshError
from streams.inspection.broker import Client
from streams.message import Message
from streams.replay import namespace
from streams.replay.comparison import TurnComparison, compare
from streams.replay.entry import entered
from streams.replay.lines import BadLine
from streams.replay.player import Given, Manner, Played, Player, Strand
from streams.replay.request import THE_JOURNAL, ReplayRequest
from streams.replay.selection import Selection
from streams.replay.source import Turns, find
from streams.settings import Settings
from streams.version import code_version
from tables.results import Key, Result, key_of
from tables.run import About, Run
from tables.runs import Runs
from web.terminal.session import connected

SHOWN_EVERY: Final = 0.5  # seconds
KEPT_AT_ONCE: Final = 50
"""Results that one transaction keeps."""
KEPT_WITHIN: Final = 1.0
"""Seconds after which the next result has all of them kept, however few."""


@dataclass(frozen=True)
class ReplayMesh:
    """The mesh that replays: its settings, and a call that raises MeshError once it is broken."""

    settings: Settings
    check: Callable[[], None]
    shared: bool
    """Whether others use its broker: then what it leaves there has to be deleted."""


Launch = Callable[[Path, ReplayRequest], AbstractContextManager[ReplayMesh]]
"""Runs the mesh for a request, with a folder for its files."""


@dataclass
class Playing:
    """Plays the turns of a source into a run, and goes on where the run was left."""

    run: Run
    request: ReplayRequest
    turns: Turns
    against: Run | None = None
    """An earlier run whose turns take the recording's place in the comparison."""
    tell: Callable[[TurnComparison], None] = lambda _: None
    """Called with each turn that ended, in whatever order."""
    played: int = 0
    skipped: int = 0
    """Turns that were there already."""
    _bad: list[BadLine] = field(default_factory=list)
    _flying: set[Key] = field(default_factory=set)
    _counted: int = 0

    def __post_init__(self) -> None:
        """Learn how far the run has come."""
        self._counted = self.run.summary().last_bad_line

    async def play(self, client: Client, mesh: ReplayMesh) -> None:
        """Play everything that is not there yet. MeshError if the mesh breaks or has no broker."""
        manner = Manner(
            run=self.run.name,
            live=self.request.asking(),
            attempts=self.request.repeat,
            speed=self.request.speed,
            # A turn may take all the time that its actors give to a model, and wait for others.
            patience=(60 + 8 * mesh.settings.llm_timeout) / min(1, self.request.speed or 1),
        )

        def check() -> None:
            mesh.check()
            self.run.heed_stop()  # with recorded pauses it may be long until a turn is kept

        player = Player(client, mesh.settings, manner, check)
        results: list[Result] = []
        kept_at = time.monotonic()
        try:
            async with (
                aclosing(self._strands()) as strands,
                aclosing(player.play(strands)) as playing,
            ):
                async for played in playing:
                    results.append(result := self._result(played))
                    self.tell(result.comparison)
                    self.played += 1
                    if len(results) >= KEPT_AT_ONCE or time.monotonic() - kept_at >= KEPT_WITHIN:
                        self._keep(results)
                        kept_at = time.monotonic()
        finally:
            self._keep(results)

    def _keep(self, results: list[Result]) -> None:
        kept, bad, read = results[:], self._bad[:], self.turns.progress
        results.clear()
        self._bad.clear()
        self._flying -= {key_of(result.recorded) for result in kept}
        self.run.add(kept, bad, done=min(1.0, read.done / max(1, read.total)))

    def _result(self, played: Played) -> Result:
        recorded = played.recorded if self.against is None else self._earlier(played.recorded)
        comparison = compare(
            recorded, played.replayed, attempt=played.attempt, failure=played.reason
        )
        return Result(played.place, comparison, recorded, played.replayed)

    def _earlier(self, recorded: Message) -> Message:
        """Return what became of a turn in the other run; without any it is not recorded there."""
        found = self.against and self.against.find(key_of(recorded))
        if found and found.replayed is not None:
            return found.replayed
        return entered(recorded)

    async def _strands(self) -> AsyncGenerator[Strand, None]:
        """Yield the turns that are to be played."""
        place = -1
        strand: list[Given] = []
        async with aclosing(aiter(self.turns)) as turns:
            async for turn in turns:
                if isinstance(turn, BadLine):
                    self._set_aside(turn)
                    continue
                place += 1
                given = self._asked_for(place, turn)
                if given is None:
                    continue
                if strand and not _goes_on(strand[-1].recorded, turn):
                    if new := self._new(strand):
                        yield new
                    strand = []
                strand.append(given)
        if new := self._new(strand):
            yield new

    def _asked_for(self, place: int, turn: Message) -> Given | None:
        """Return a turn as it is to be played; None if it is not one of those."""
        edited = self.request.what_if
        if edited is not None and (turn.session_id, turn.id) != (
            edited.session_id,
            edited.message_id,
        ):
            return None
        return Given(place, turn, edited, line=self.turns.position)

    def _new(self, strand: Strand) -> Strand:
        """Return all of a strand unless it is there already; what is there twice is bad.

        Where nothing was recorded, what was said before is a part of what comes now: then all of
        it is played once more.
        """
        places = [self.run.position(key_of(one.recorded, self.request.repeat)) for one in strand]
        if places == [one.place for one in strand]:
            self.skipped += len(strand)
            return []
        new = []
        for one, place in zip(strand, places, strict=True):
            key = key_of(one.recorded)
            if place not in (None, one.place) or key in self._flying:
                reason = f"turn {one.recorded.id} of {one.recorded.session_id} comes once more"
                self._set_aside(BadLine(one.line, reason))
            else:
                self._flying.add(key)
                new.append(one)
        return new

    def _set_aside(self, line: BadLine) -> None:
        """Have a line counted that cannot be played, unless the run knows it already."""
        if line.number > self._counted:
            self._bad.append(line)


def _goes_on(before: Message, turn: Message) -> bool:
    """Say whether a turn's session goes on from another turn, as nothing is recorded of both."""
    return not before.trace and not turn.trace and before.session_id == turn.session_id


class Performance:
    """One replay as a whole: finds the turns, has a mesh run, plays, and leaves nothing behind."""

    def __init__(
        self,
        settings: Settings,
        launch: Launch,
        tell: Callable[[TurnComparison], None] = lambda _: None,
        show: Callable[[Playing], None] = lambda _: None,
    ) -> None:
        """`tell` hears of each turn that ended, `show` twice a second how far all is."""
        self._settings = settings
        self._runs = Runs(settings.data_dir)
        self._launch = launch
        self._tell = tell
        self._show = show

    async def give(self, request: ReplayRequest, run: Run | None = None, *, name: str = "") -> Run:
        """Replay what is asked for and return the run, ended.

        It is a new one, called `name` if that is given, or `run`, which goes on then. What a
        replay cannot go on from is raised as MeshError or BridgeError, and said in the run.
        """
        if name:
            # Whoever chose the name waits for it, and learns there also what cannot be replayed.
            run = self._runs.create(about(request, name=name))
        async with AsyncExitStack() as stack:
            try:
                client = None
                if request.source == THE_JOURNAL:
                    client = await connected(self._settings, "mesh replay")
                    stack.push_async_callback(client.close)
                origin = run.about().origin if run is not None else None
                if origin is None:
                    selection, prefix = selection_of(request), self._settings.prefix
                    origin = await find(request.source, selection, client, prefix)
                against = self._runs.open(request.against) if request.against else None
                if run is None:
                    run = self._runs.create(about(request))
                run.say(origin=origin, source=origin.name, code=code_version())
                turns = Turns(origin, client, self._settings.prefix)
                await self._play(Playing(run, request, turns, against, self._tell))
            except BaseException as error:
                if run is not None:
                    told = str(error) if isinstance(error, MeshError | BridgeError) else ""
                    run.end("interrupted", told or "It was stopped.")
                raise
            else:
                run.end()
            finally:
                if run is not None:
                    run.close()
        return run

    async def _play(self, playing: Playing) -> None:
        self._runs.sweep()
        folder = self._runs.work_folder(playing.run.name)
        self._show(playing)
        showing = asyncio.create_task(self._keep_showing(playing))
        mesh: ReplayMesh | None = None
        client: Client | None = None
        try:
            with self._launch(folder, playing.request) as mesh:
                client = await connected(mesh.settings, "mesh replay")
                if mesh.shared:
                    await namespace.sweep(client)
                await playing.play(client, mesh)
        finally:
            showing.cancel()
            # The workers are gone now: nothing makes the streams anew. Who is told to stop only
            # here, as with Ctrl-C at the last turn, stops when it is done.
            leaving = asyncio.create_task(_leave_nothing(folder, client, mesh))
            try:
                await asyncio.shield(leaving)
            finally:
                await asyncio.wait([leaving])

    async def _keep_showing(self, playing: Playing) -> None:
        while True:
            await asyncio.sleep(SHOWN_EVERY)
            self._show(playing)


def about(request: ReplayRequest, *, name: str = "") -> About:
    """Return what a new run says of itself."""
    return About(
        run=name,
        source=request.source,
        request=request,
        mode=request.mode,
        live=list(request.live),
        code=code_version(),
    )


def selection_of(request: ReplayRequest) -> Selection:
    """Return which turns a request means."""
    edited = request.what_if
    return Selection(
        since=request.since,
        until=request.until,
        session=request.session or (edited.session_id if edited else None),
        intent=request.intent,
        outcome=request.outcome,
        filter=request.filter,
    )


async def _leave_nothing(folder: Path, client: Client | None, mesh: ReplayMesh | None) -> None:
    """Delete the streams of a replay's mesh, if others use their broker, and its folder."""
    try:
        if client is not None:
            with suppress(MeshError):
                if mesh is not None and mesh.shared:
                    await namespace.clear(client, mesh.settings.prefix)
            await client.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
