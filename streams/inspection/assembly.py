"""Putting a conversation together from the records that were found and the traces inside them.

A trace tells what an actor did and when; the record that it worked on tells when it was sent, and
because of which other record. Where a record is gone (mailboxes keep a day), the traces alone
tell the story.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, Final, NamedTuple

from streams.bridge.records import Record
from streams.dead_letters import REASON
from streams.inspection.conversation import (
    CUSTOMER,
    OPERATOR,
    Answer,
    Asked,
    Burial,
    Conversation,
    Place,
    State,
    Step,
    Turn,
)
from streams.inspection.difference import Change, difference
from streams.inspection.trail import Coverage, Found, Trail, cause_of_record
from streams.message import ByHand, Hop, Message
from streams.payload import Json, Payload
from streams.reply import Reply, state_of
from streams.slip import CONVERSATION, RESPONSE_AGGREGATOR
from streams.topics import DEAD_LETTERS, JOURNAL, MAILBOXES, actor_name

Mask = Callable[[Any], Any]
#: A hop by all that came before it and itself: actors and when each began.
HopKey = tuple[tuple[str, datetime], ...]

#: Turns by their ids, with how many records each was put together from.
Known = dict[str, tuple[int, Turn]]

_DOOR: Final = actor_name(CONVERSATION)
_STANDS: Final = (CUSTOMER, OPERATOR, *(actor_name(subject) for subject in MAILBOXES))


def conversation(
    trail: Trail, mask: Mask | None = None, known: Known | None = None
) -> Conversation:
    """Return the conversation as far as `trail` has found it, with `mask` over what people said.

    Who asks again gives the same `known` each time: turns that are as they were are in it.
    """
    found, coverage = trail.found.values(), trail.coverage.values()
    return assemble(trail.session_id, found, coverage, mask, known)


def assemble(
    session_id: str,
    records: Iterable[Found],
    coverage: Iterable[Coverage] = (),
    mask: Mask | None = None,
    known: Known | None = None,
) -> Conversation:
    """Return the conversation that these records tell of."""
    known = {} if known is None else known
    by_turn: dict[str, _Assembly] = {}
    unreadable: list[Burial] = []
    for found in sorted(records, key=lambda one: (one.record.timestamp, one.record.offset)):
        if (message_id := found.turn) is None:
            unreadable.append(_burial(found.record, mask or _as_it_is))
        else:
            by_turn.setdefault(message_id, _Assembly(message_id, mask or _as_it_is)).add(found)
    turns = sorted(
        (turn for one in by_turn.values() if (turn := _once(one, known)) is not None),
        key=lambda turn: (turn.at, turn.number),
    )
    turns = list(_mark_waiting(turns))
    covered = sorted(coverage, key=lambda one: one.topic)
    return Conversation(
        session_id=session_id,
        turns=turns,
        actors=sorted({name for turn in turns for name in _names(turn)}, key=_order),
        unreadable=unreadable,
        coverage=covered,
        complete=all(one.complete for one in covered),
        masked=mask is not None,
    )


def _once(turn: "_Assembly", known: Known) -> Turn | None:
    """Put a turn together, unless it was before and nothing has been found since."""
    before = known.get(turn.message_id)
    if before is not None and before[0] == turn.records:
        return before[1]
    made = turn.turn()
    if made is not None:
        known[turn.message_id] = turn.records, made
    return made


def _mark_waiting(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Mark the turns that wait for those before them: a session works on one at a time."""
    busy = False
    for turn in turns:
        if turn.state != "under way":
            yield turn
            continue
        if busy and [step.actor for step in turn.steps if step.outcome == "open"] == [_DOOR]:
            steps = [step.model_copy(update={"outcome": "waits"}) for step in turn.steps]
            yield turn.model_copy(update={"state": "waiting", "steps": steps})
        else:
            yield turn
        busy = True


def _order(name: str) -> int:
    """Return where a participant stands in a diagram: most messages then go to the right."""
    return _STANDS.index(name) if name in _STANDS else len(_STANDS)


def _names(turn: Turn) -> Iterator[str]:
    for step in turn.steps:
        yield step.sender
        yield step.actor
    yield from turn.ahead


class _Sighting(NamedTuple):
    """A turn's message on a topic."""

    record: Record
    message: Message

    @property
    def place(self) -> tuple[str, int]:
        return self.record.topic, self.record.offset

    @property
    def time(self) -> datetime:
        return _time(self.record)


class _Assembly:
    """Everything that was found of one turn."""

    def __init__(self, message_id: str, mask: Mask) -> None:
        self.message_id = message_id
        self.mask = mask
        self.records = 0
        self.sightings: list[_Sighting] = []
        """Its message wherever it was seen, in order of time."""
        self.replies: list[tuple[Record, Reply]] = []
        self.buried: list[Record] = []
        self.hops: dict[HopKey, Hop] = {}
        self.outputs: dict[HopKey, _Sighting] = {}
        """By a hop, what came of it."""

    def add(self, found: Found) -> None:
        """Add a record of this turn; records come in order of time."""
        self.records += 1
        if found.record.topic == DEAD_LETTERS:
            self.buried.append(found.record)
        if found.reply is not None:
            self.replies.append((found.record, found.reply))
        if found.message is not None:
            sighting = _Sighting(found.record, found.message)
            self.sightings.append(sighting)
            whole = _key(found.message)
            for length, hop in enumerate(found.message.trace, start=1):
                self.hops.setdefault(whole[:length], hop)
            if found.record.topic != DEAD_LETTERS:
                self.outputs.setdefault(whole, sighting)

    def turn(self) -> Turn | None:
        """Return the turn, None if nothing was found that says what the customer wrote."""
        if not self.sightings:
            return None
        fullest = max((s.message for s in self.sightings), key=lambda m: len(m.trace))
        steps = sorted(self._steps(), key=_when)
        answers = [self._answer(record, reply) for record, reply in self.replies]
        ends = [s for s in self.sightings if s.record.topic == JOURNAL]
        state = self._state(ends)
        return Turn(
            message_id=self.message_id,
            number=fullest.payload.turn,
            text=self.mask(fullest.payload.text),
            channel=fullest.payload.channel,
            at=fullest.payload.at,
            ended_at=min((answer.at for answer in answers), default=ends[0].time if ends else None),
            state=state,
            ahead=_route(fullest) if state == "under way" else [],
            waiting_ms=sum(step.waiting_ms or 0 for step in steps),
            working_ms=sum(step.working_ms or 0 for step in steps),
            steps=steps,
            answers=answers,
            burials=[_burial(record, self.mask) for record in self.buried],
            journal=_place(ends[0].record) if ends else None,
        )

    def _state(self, ends: list[_Sighting]) -> State:
        if self.replies:
            return self.replies[-1][1].state
        if ends:
            return state_of(ends[-1].message)
        return "dead" if self.buried else "under way"

    def _steps(self) -> Iterator[Step]:
        inputs: dict[tuple[HopKey, str], list[_Sighting]] = {}
        for sighting in self.sightings:
            if sighting.record.topic in MAILBOXES:
                at = _key(sighting.message), actor_name(sighting.record.topic)
                inputs.setdefault(at, []).append(sighting)
        for key, hop in self.hops.items():
            candidates = inputs.get((key[:-1], hop.actor), [])
            taken = self._input(key, hop, candidates)
            if taken is not None:
                candidates.remove(taken)
            yield self._worked(key, hop, taken)
        worked = {(key[:-1], hop.actor) for key, hop in self.hops.items()}
        for at, left in inputs.items():
            for sighting in left:
                yield self._unworked(at[0], sighting, again=at in worked)

    def _input(self, key: HopKey, hop: Hop, candidates: list[_Sighting]) -> _Sighting | None:
        """Return what a hop worked on: the record that came of it says so, else the times do."""
        output = self.outputs.get(key)
        cause = cause_of_record(output.record) if output is not None else None
        for sighting in candidates:
            if cause is not None and sighting.place == (cause.topic, cause.offset):
                return sighting
        before = [s for s in candidates if s.time <= hop.started_at]
        return before[-1] if before else next(iter(candidates), None)

    def _worked(self, key: HopKey, hop: Hop, taken: _Sighting | None) -> Step:
        began = hop.started_at.timestamp()
        waited = self._waited(key, hop, taken)
        output = self.outputs.get(key)
        rerouted = output is not None and hop.outcome in ("rerouted", "failed")
        verdict = hop.added.get("guardrail")
        return Step(
            sender=self._sender(key[:-1], taken),
            actor=hop.actor,
            place=_place(taken.record) if taken else None,
            by_hand=_by_hand(taken),
            sent_at=taken.time if taken else None,
            started_at=hop.started_at,
            ended_at=datetime.fromtimestamp(began + hop.duration_ms / 1000, UTC),
            waiting_ms=waited,
            delayed_ms=min(_delay(taken), waited or 0.0),
            working_ms=hop.duration_ms,
            outcome=hop.outcome,
            reason=self._reason(hop, output),
            guardrail=None if not verdict else "passed" if verdict.get("passed") else "refused",
            attempt=self._attempt(key[:-1], hop.actor),
            route=_route(output.message) if output and rerouted else None,
            notes=[self.mask(note) for note in hop.notes],
            asked=[
                Asked(
                    target=one.target,
                    duration_ms=one.duration_ms,
                    error=self.mask(one.error),
                )
                for one in hop.exchanges
            ],
            difference=self._difference(key, hop, taken),
        )

    def _waited(self, key: HopKey, hop: Hop, taken: _Sighting | None) -> float | None:
        """Return for how many milliseconds a message waited for its actor, as far as known."""
        began = hop.started_at.timestamp()
        before = self.hops.get(key[:-1])
        ready = None
        if before is not None:
            ready = before.started_at.timestamp() + before.duration_ms / 1000
        # The broker's clock and the worker's may differ: then the hop before knows better.
        if taken is not None and (taken.record.timestamp <= began or ready is None):
            ready = taken.record.timestamp
        return None if ready is None else max(0.0, began - ready) * 1000

    def _reason(self, hop: Hop, output: _Sighting | None) -> str | None:
        error = output.message.error if output is not None and hop.outcome == "failed" else None
        return None if error is None else str(self.mask(f"{error.kind}: {error.text}"))

    def _difference(self, key: HopKey, hop: Hop, taken: _Sighting | None) -> list[Change]:
        before = _filled(taken.message.payload) if taken else self._payload_before(key[:-1])
        after = _with(before, hop.added)
        # To look for what must be masked takes time: only where something changed.
        changed = [n for n in {**before, **hop.added} if before.get(n) != after.get(n)]
        before = {name: before[name] for name in changed if name in before}
        after = {name: after[name] for name in changed if name in after}
        return difference(self.mask(before), self.mask(after))

    def _payload_before(self, key: HopKey) -> Json:
        """Return the payload as the hops before left it, by what each of them added."""
        given = self.sightings[0].message.payload.model_dump(include=_GIVEN)
        payload = _filled(Payload.model_validate(given))
        for length in range(1, len(key) + 1):
            payload = _with(payload, self.hops[key[:length]].added)
        return payload

    def _attempt(self, before: HopKey, actor: str) -> int:
        """Return which try of this actor it is, counting those right before."""
        tries = takewhile(
            lambda length: (
                before[length - 1][0] == actor and self.hops[before[:length]].outcome == "retry"
            ),
            range(len(before), 0, -1),
        )
        return 1 + sum(1 for _ in tries)

    def _unworked(self, before: HopKey, sighting: _Sighting, *, again: bool) -> Step:
        """Return the step of a message that no hop tells of."""
        actor = actor_name(sighting.record.topic)
        step = Step(
            sender=self._sender(before, sighting),
            actor=actor,
            place=_place(sighting.record),
            by_hand=_by_hand(sighting),
            sent_at=sighting.time,
            delayed_ms=_delay(sighting),
            attempt=self._attempt(before, actor),
        )
        for record in self.buried:
            cause = cause_of_record(record)
            if cause is not None and sighting.place == (cause.topic, cause.offset):
                step.outcome, step.reason = "dead", _burial(record, self.mask).reason
                return step
        if actor != _DOOR:
            step.outcome = "repeated" if again else "open"
        elif (later := self._came_in_again(sighting)) is not None:
            step.outcome, step.ended_at = "waits", later.time
            step.waiting_ms = (later.time - sighting.time).total_seconds() * 1000
        elif again or self.replies:
            step.outcome = "repeated"
        return step

    def _came_in_again(self, sighting: _Sighting) -> _Sighting | None:
        """Return the turn as it came through the door after it had waited inside."""
        run, hops = sighting.message.run, len(sighting.message.slip.done)
        for later in self.sightings:
            again = later.record.topic == CONVERSATION and later.message.run == run
            if again and len(later.message.slip.done) > hops:
                return later
        return None

    def _sender(self, before: HopKey, taken: _Sighting | None) -> str:
        cause = cause_of_record(taken.record) if taken else None
        if cause is not None:
            return actor_name(cause.topic)
        if _by_hand(taken) is not None:
            return OPERATOR
        return before[-1][0] if before else CUSTOMER

    def _answer(self, record: Record, reply: Reply) -> Answer:
        return Answer(
            sender=actor_name(RESPONSE_AGGREGATOR),
            at=_time(record),
            author=reply.author,
            state=reply.state,
            text=self.mask(reply.response),
            sequence=reply.sequence,
            place=_place(record),
        )


_GIVEN: Final = {name for name, field in Payload.model_fields.items() if field.frozen}


def _as_it_is(value: Any) -> Any:
    return value


def _time(record: Record) -> datetime:
    return datetime.fromtimestamp(record.timestamp, UTC)


def _place(record: Record) -> Place:
    return Place(topic=record.topic, partition=record.partition, offset=record.offset)


def _key(message: Message) -> HopKey:
    return tuple((hop.actor, hop.started_at) for hop in message.trace)


def _when(step: Step) -> datetime:
    when = step.sent_at or step.started_at
    assert when is not None  # noqa: S101 - a step comes of a record or of a hop
    return when


def _filled(payload: Payload) -> Json:
    """Return a payload without its empty slots."""
    return {k: v for k, v in payload.model_dump(mode="json").items() if v is not None}


def _with(payload: Json, added: Json) -> Json:
    return {k: v for k, v in (payload | added).items() if v is not None}


def _by_hand(taken: _Sighting | None) -> ByHand | None:
    """Return what an operator did to send this record, None if an actor sent it, or a customer."""
    if taken is None or not taken.message.by_hand or cause_of_record(taken.record) is not None:
        return None
    return taken.message.by_hand[-1]


def _route(message: Message) -> list[str]:
    return [actor_name(subject) for subject in message.slip.steps]


def _delay(taken: _Sighting | None) -> float:
    """Return how many milliseconds a message is kept back before the next try."""
    moment = taken and taken.message.recovery.not_before
    return max(0.0, (moment - taken.time).total_seconds() * 1000) if moment and taken else 0.0


def _burial(record: Record, mask: Mask) -> Burial:
    cause = cause_of_record(record)
    reason = next((v.decode("utf-8", "replace") for n, v in record.headers if n == REASON), "")
    return Burial(
        actor=actor_name(cause.topic) if cause else actor_name(record.topic),
        at=_time(record),
        reason=mask(reason),
        place=_place(record),
    )
