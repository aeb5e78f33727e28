"""One replay from its source to its last turn: each turn played, compared and kept."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from streams.inspection.broker import Client
from streams.message import Message
from streams.replay.comparison import TurnComparison, compare
from streams.replay.lines import BadLine
from streams.replay.player import Given, Manner, Played, Player
from streams.replay.request import ReplayRequest
from streams.replay.source import Turns
from streams.settings import Settings
from tables.runs import Result, Run

KEPT_AT_ONCE: Final = 50
"""Results that one transaction keeps."""
KEPT_WITHIN: Final = 1.0
"""Seconds after which the next result has all of them kept, however few."""


@dataclass(frozen=True)
class ReplayMesh:
    """The mesh that replays: its settings, and a call that raises MeshError once it is broken."""

    settings: Settings
    check: Callable[[], None]


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
    _flying: set[tuple[str, str]] = field(default_factory=set)

    async def play(self, client: Client, mesh: ReplayMesh) -> None:
        """Play everything that is not there yet. MeshError if the mesh breaks or has no broker."""
        manner = Manner(
            run=self.run.name,
            live=self.request.asking(),
            attempts=self.request.repeat,
            speed=self.request.speed,
            # A turn may take all the time that its actors give to a model, and wait for others.
            patience=60 + 8 * mesh.settings.llm_timeout,
        )
        player = Player(client, mesh.settings, manner, mesh.check)
        results: list[Result] = []
        kept_at = time.monotonic()
        async with aclosing(self._given()) as given, aclosing(player.play(given)) as playing:
            async for played in playing:
                results.append(result := self._result(played))
                self.tell(result.comparison)
                self.played += 1
                if len(results) >= KEPT_AT_ONCE or time.monotonic() - kept_at >= KEPT_WITHIN:
                    self._keep(results)
                    kept_at = time.monotonic()
        self._keep(results)

    def _keep(self, results: list[Result]) -> None:
        self.run.add(results, self._bad)
        self._flying -= {_key(result.recorded) for result in results}
        results.clear()
        self._bad.clear()

    def _result(self, played: Played) -> Result:
        recorded = played.recorded if self.against is None else self._earlier(played.recorded)
        comparison = compare(
            recorded, played.replayed, attempt=played.attempt, failure=played.reason
        )
        return Result(played.place, comparison, recorded, played.replayed)

    def _earlier(self, recorded: Message) -> Message:
        """Return what became of a turn in the other run; without any it is not recorded there."""
        found = self.against and self.against.turn(recorded.session_id, recorded.id)
        if found and found.replayed is not None:
            return found.replayed
        return recorded.model_copy(update={"trace": []})

    async def _given(self) -> AsyncGenerator[Given, None]:
        """Yield the turns that are to be played."""
        counted = self.run.summary().last_bad_line
        place = -1
        conversation: list[Given] = []
        async with aclosing(aiter(self.turns)) as turns:
            async for turn in turns:
                if isinstance(turn, BadLine):
                    if turn.number > counted:
                        self._bad.append(turn)
                    continue
                place += 1
                given = self._asked_for(place, turn)
                if given is None:
                    continue
                if conversation and not _goes_on(conversation[-1].recorded, turn):
                    for one in self._new(conversation):
                        yield one
                    conversation = []
                conversation.append(given)
        for one in self._new(conversation):
            yield one

    def _asked_for(self, place: int, turn: Message) -> Given | None:
        """Return a turn as it is to be played; None if it is not one of those."""
        edited = self.request.what_if
        if edited is None:
            return Given(place, turn)
        meant = (turn.session_id, turn.id) == (edited.session_id, edited.message_id)
        return Given(place, turn, edited) if meant else None

    def _new(self, conversation: list[Given]) -> list[Given]:
        """Return all of a conversation unless it is there already; what is there twice is bad.

        Where nothing was recorded, what was said before is a part of what comes now: then all of
        it is played once more.
        """
        there = self.run.done([one.place for one in conversation], self.request.repeat)
        if len(there) == len(conversation):
            self.skipped += len(conversation)
            return []
        new = []
        for one in conversation:
            if one.place not in there and self._is_known(one.recorded):
                reason = f"turn {one.recorded.id} of {one.recorded.session_id} comes once more"
                self._bad.append(BadLine(one.place + 1, reason))
            else:
                self._flying.add(_key(one.recorded))
                new.append(one)
        return new

    def _is_known(self, turn: Message) -> bool:
        """Say whether this run of this turn is under way or done; a redriven one is another."""
        if _key(turn) in self._flying:
            return True
        found = self.run.turn(turn.session_id, turn.id)
        return found is not None and _key(found.recorded) == _key(turn)


def _goes_on(before: Message, turn: Message) -> bool:
    """Say whether a turn's session goes on from another turn, as nothing is recorded of both."""
    return not before.trace and not turn.trace and before.session_id == turn.session_id


def _key(turn: Message) -> tuple[str, str]:
    return turn.session_id, turn.run
