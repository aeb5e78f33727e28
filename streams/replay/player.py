"""Working on recorded turns once more: fed into a mesh of their own, collected where they end."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nats.aio.msg import Msg

from streams.bridge import decode
from streams.bridge.layout import every_partition
from streams.dead_letters import ORIGIN, REASON
from streams.errors import GatewayUnavailable, MeshError, Undecodable
from streams.inspection.broker import Client
from streams.journal import finished_turns
from streams.message import ID_LENGTH, Message, Replay
from streams.post import put
from streams.replay import namespace
from streams.replay.request import WhatIf
from streams.replay.rerun import NoSuchHop, rerun
from streams.settings import Settings
from streams.slip import RESPONSE_AGGREGATOR
from streams.topics import DEAD_LETTERS, declare_topics

PUT_AGAIN: Final = 0.5  # seconds
CHECK_EVERY: Final = 1.0  # seconds
TRIM_EVERY: Final = 5.0  # seconds
#: Records that a topic keeps of each turn in flight: no turn comes through a mailbox more often.
KEPT_PER_TURN: Final = 20
KEPT_LEAST: Final = 1000


@dataclass(frozen=True)
class Manner:
    """How turns are replayed."""

    run: str
    live: tuple[str, ...] = ()
    """The actors that ask the outside; `*` is all of them."""
    attempts: int = 1
    speed: float = 0
    """1 is as recorded, 2 twice as fast; 0 is as fast as it goes."""
    in_flight: int = 100
    """Conversations that are worked on at once."""
    patience: float = 120
    """Seconds after which a turn that has not ended counts as lost."""


@dataclass(frozen=True)
class Given:
    """One turn to be replayed."""

    place: int
    """Its place in the source, from 0."""
    recorded: Message
    edited: WhatIf | None = None
    """What one of its actors is made to say instead of what it said."""
    line: int = 0
    """Where people find it: its line in the file, its offset in the journal."""


Strand = Sequence[Given]
"""What has to be played one after the other: a recorded turn stands for itself, but one that was
never worked on needs those before it in its session."""


@dataclass(frozen=True)
class Played:
    """What became of a turn."""

    place: int
    attempt: int
    recorded: Message
    replayed: Message | None
    reason: str = ""
    """Why it did not end, if it did not."""


class Player:
    """Feeds turns into the mesh of `settings`, whose prefix is the replay's own, and collects them.

    The workers are somebody else's to start. Memory is bounded by what is in flight.
    """

    def __init__(
        self,
        client: Client,
        settings: Settings,
        manner: Manner,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Play as `manner` says; `check` is called every second and raises once all is in vain."""
        self._check = check
        self._client = client
        self._settings = settings
        self._manner = manner
        self._awaited: dict[tuple[str, str], asyncio.Future[Message | str]] = {}
        """What comes of the turns on their way, by the ids that they have there."""
        self._began: tuple[float, datetime] | None = None

    async def play(self, strands: AsyncIterable[Strand]) -> AsyncGenerator[Played, None]:
        """Yield every turn once for each attempt, as they end."""
        await declare_topics(self._client.jetstream(), self._settings)
        played: asyncio.Queue[Played | None] = asyncio.Queue(self._manner.in_flight)
        letters = await self._client.subscribe(
            every_partition(self._settings.prefix, DEAD_LETTERS), cb=self._on_letter
        )
        await self._client.flush()
        collecting = asyncio.create_task(self._collect(), name="collect replayed turns")
        trimming = asyncio.create_task(self._trim(), name="trim the replay's streams")
        checking = asyncio.create_task(self._keep_checking(), name="check on the replay's mesh")
        feeding = asyncio.create_task(self._feed(strands, played), name="feed the replay")
        tasks = (feeding, collecting, checking, trimming)
        try:
            while (one := await self._next(played, *tasks)) is not None:
                yield one
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(Exception):  # the connection may be gone, and the namespace soon is
                await letters.unsubscribe()

    @staticmethod
    async def _next(
        played: "asyncio.Queue[Played | None]", *tasks: "asyncio.Task[None]"
    ) -> Played | None:
        """Return what ended next, or raise what made one of the tasks fail."""
        getting = asyncio.ensure_future(played.get())
        try:
            await asyncio.wait((getting, *tasks), return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and (error := task.exception()) is not None:
                    raise error
            return await getting
        finally:
            getting.cancel()

    async def _feed(
        self, strands: AsyncIterable[Strand], played: "asyncio.Queue[Played | None]"
    ) -> None:
        """Keep as many conversations in flight as there may be, until all are through."""
        places = asyncio.Semaphore(self._manner.in_flight)

        async def work(strand: Strand) -> None:
            try:
                for attempt in range(1, self._manner.attempts + 1):
                    for given in strand:
                        await played.put(await self._turn(given, attempt))
            finally:
                places.release()

        async with asyncio.TaskGroup() as group:
            async for strand in strands:
                await places.acquire()
                group.create_task(work(strand))
        await played.put(None)

    async def _turn(self, given: Given, attempt: int) -> Played:
        """Have one turn worked on and wait for its end."""
        recorded, manner = given.recorded, self._manner
        await self._wait_for_its_time(recorded.payload.at)
        replay = Replay(run=manner.run, attempt=attempt, live=list(manner.live), pace=manner.speed)
        try:
            message = _renamed(rerun(recorded, replay, given.edited), attempt)
        except NoSuchHop as error:
            return Played(given.place, attempt, recorded, None, str(error))
        key = (message.session_id, message.run)
        awaited = self._awaited[key] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(manner.patience):
                await self._put(message)
                ended = await awaited
        except TimeoutError:
            ended = f"it did not end within {manner.patience:g} s"
        except MeshError as error:
            ended = str(error)
        finally:
            del self._awaited[key]
        if isinstance(ended, str):
            return Played(given.place, attempt, recorded, None, ended)
        return Played(given.place, attempt, recorded, _named_as(ended, recorded))

    async def _wait_for_its_time(self, at: datetime) -> None:
        if not self._manner.speed:
            return
        now = asyncio.get_running_loop().time()
        began, first = self._began = self._began or (now, at)
        due = began + (at - first).total_seconds() / self._manner.speed
        await asyncio.sleep(max(0.0, due - now))

    async def _put(self, message: Message) -> None:
        topic, value = message.slip.steps[0], message.encode()
        if len(value) > self._client.max_payload:
            raise MeshError(f"with its recording it has {len(value):,} bytes: no record may")
        while True:
            with suppress(GatewayUnavailable):
                await put(
                    self._client,
                    self._settings,
                    topic,
                    key=message.session_id.encode(),
                    value=value,
                    message_id=f"{message.session_id}-{message.run}",
                )
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise asyncio.CancelledError  # nats-py's `wait_for` can swallow it
                return
            await asyncio.sleep(PUT_AGAIN)

    async def _collect(self) -> None:
        """Hand the finished turns of the namespace to whoever waits for them."""
        async with aclosing(finished_turns(self._client, self._settings.prefix)) as finished:
            async for turns in finished:
                for _, turn in turns:
                    if not isinstance(turn, Undecodable):
                        self._end(turn, turn)

    def _end(self, turn: Message, how: Message | str) -> None:
        awaited = self._awaited.get((turn.session_id, turn.run))
        if awaited is not None and not awaited.done():
            awaited.set_result(how)

    async def _on_letter(self, letter: Msg) -> None:
        """End a turn that is buried where nothing follows; others go on to the journal."""
        record = decode(letter)
        headers = dict(record.headers or ())
        if not headers.get(ORIGIN, b"").startswith(f"{RESPONSE_AGGREGATOR}/".encode()):
            return
        with suppress(Undecodable):
            message = Message.decode(record.value or b"")
            reason = headers.get(REASON, b"").decode(errors="replace")
            self._end(message, f"it ended among the dead letters: {reason}")

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY)
            self._check()

    async def _trim(self) -> None:
        """Keep the namespace small, however long the replay: what is done is of no more use."""
        keep = max(KEPT_LEAST, KEPT_PER_TURN * self._manner.in_flight)
        while True:
            await asyncio.sleep(TRIM_EVERY)
            with suppress(GatewayUnavailable):
                await namespace.trim(self._client, self._settings.prefix, keep)


def _renamed(message: Message, attempt: int) -> Message:
    """Return the message under ids of its own from the second attempt on.

    Sessions and the shop recognise what comes again, and would repeat their first answer.
    """
    if attempt == 1:
        return message
    return message.model_copy(
        update={
            "id": _again(message.id, attempt),
            "session_id": _again(message.session_id, attempt),
        }
    )


def _again(name: str, attempt: int) -> str:
    """Return a name for another attempt: one that no text holds by chance."""
    mark = hashlib.sha256(f"{name} {attempt}".encode()).hexdigest()[:12]
    return f"{name[: ID_LENGTH - len(mark) - 1]}-{mark}"


def _named_as(ended: Message, recorded: Message) -> Message:
    """Return a finished turn under the names of the recorded one, wherever they were written."""
    if (ended.id, ended.session_id) == (recorded.id, recorded.session_id):
        return ended
    text = ended.encode()
    for own, given in ((ended.id, recorded.id), (ended.session_id, recorded.session_id)):
        text = text.replace(own.encode(), given.encode())
    return Message.decode(text)
