"""A conversation as the text of a Mermaid sequence diagram, for documents and tickets."""

import re
from collections.abc import Iterator
from typing import Final

from streams.inspection.conversation import (
    CUSTOMER,
    OPERATOR,
    Answer,
    Burial,
    Conversation,
    Step,
    Turn,
)
from streams.topics import DEAD_LETTERS, actor_name

LABEL: Final = 80
"""Characters of what people wrote that an arrow shows."""

_GRAVE: Final = actor_name(DEAD_LETTERS)
# What Mermaid takes for syntax; the diagram shows the character.
_CODES: Final = str.maketrans(
    {character: f"#{ord(character)};" for character in '#;<>"%{}[]()`\\|&'} | {":": "#58;"}
)


def mermaid(conversation: Conversation) -> str:
    """Return the diagram: an arrow for each message, and a note for what its actor did with it."""
    lines = ["sequenceDiagram", f"    accTitle: Conversation {_text(conversation.session_id)}"]
    lines += [f"    {line}" for line in _participants(conversation)]
    for turn in conversation.turns:
        lines += [f"    {line}" for line in _turn(turn, conversation.actors)]
    if not conversation.complete:
        lines.append("    %% Not every topic was looked through whole: messages may be missing.")
    return "\n".join(lines) + "\n"


def milliseconds(value: float) -> str:
    """Return a time as people read it: `0.4 ms`, `12 ms`, `3.1 s`, `2 min`."""
    if value < 9.95:
        return f"{value:.1f} ms"
    if value < 999.5:
        return f"{value:.0f} ms"
    return f"{value / 1000:.1f} s" if value < 99_950 else f"{value / 60_000:.0f} min"


def summary(step: Step) -> str:
    """Return in one line what an actor did with a message, and how long it took."""
    times = []
    if step.waiting_ms is not None:
        times.append(f"waited {milliseconds(step.waiting_ms)}")
    if step.working_ms is not None:
        times.append(f"worked {milliseconds(step.working_ms)}")
    changed = ", ".join(slots(step))
    return ", ".join(filter(None, (remark(step), *times, changed and f"changed {changed}")))


def remark(step: Step) -> str:
    """Return what is out of the ordinary about a step; nothing for most."""
    said = {
        "done": "",
        "rerouted": f"on to {step.route[0]}" if step.route else "rerouted",
        "retry": f"try {step.attempt} failed",
        "failed": "failed",
        "waits": "waits for the turn before",
        "open": "waits, or is being worked on",
        "dead": "dead letter",
        "repeated": "came again, not worked on twice",
    }[step.outcome]
    if step.guardrail == "refused":
        said = "refused the reply"
    if step.outcome == "retry" and step.notes:
        said = step.notes[-1]
    elif step.reason:
        said = f"{said}: {step.reason}" if said else step.reason
    kept = f"{milliseconds(step.delayed_ms)} of the wait on purpose" if step.delayed_ms else ""
    hand = f"{step.by_hand.kind} by {step.by_hand.operator}" if step.by_hand else ""
    return ", ".join(filter(None, (hand, said, kept)))


def slots(step: Step) -> list[str]:
    """Return the names of the payload's slots that a step changed."""
    return list(dict.fromkeys(re.split(r"[.\[]", one.path)[0] for one in step.difference))


def _participants(conversation: Conversation) -> Iterator[str]:
    yield f"actor {CUSTOMER}"
    for name in conversation.actors:
        if name != CUSTOMER:
            yield f"{'actor' if name == OPERATOR else 'participant'} {name}"
    if any(turn.burials for turn in conversation.turns):
        yield f"participant {_GRAVE}"


def _turn(turn: Turn, actors: list[str]) -> Iterator[str]:
    over = f"{CUSTOMER},{actors[-1]}" if len(actors) > 1 else CUSTOMER
    number = f"Turn {turn.number}" if turn.number else "A turn"
    yield f"Note over {over}: {number}, {_text(turn.state.replace('_', ' '))}"
    said: list[tuple[float, list[str]]] = []
    for step in turn.steps:
        when = step.sent_at or step.started_at
        said.append((when.timestamp() if when else 0.0, list(_step(step, turn))))
    for answer in turn.answers:
        said.append((answer.at.timestamp(), [_answer(answer)]))
    for burial in turn.burials:
        said.append((burial.at.timestamp(), [_burial(burial)]))
    for _, lines in sorted(said, key=lambda pair: pair[0]):
        yield from lines


def _step(step: Step, turn: Turn) -> Iterator[str]:
    arrow = "-->>" if step.sender == step.actor or step.sender == OPERATOR else "->>"
    label = turn.text if step.sender == CUSTOMER else "the turn"
    if step.place is not None and step.sender != CUSTOMER:
        label = f"offset {step.place.offset}"
    if step.by_hand:
        label = "by hand"
    elif step.attempt > 1:
        label = f"try {step.attempt}"
    yield f"{step.sender}{arrow}{step.actor}: {_text(label)}"
    yield f"Note right of {step.actor}: {_text(summary(step), None)}"


def _answer(answer: Answer) -> str:
    return f"{answer.sender}->>{CUSTOMER}: {_text(answer.text)}"


def _burial(burial: Burial) -> str:
    return f"{burial.actor}-x{_GRAVE}: {_text(burial.reason)}"


def _text(text: str, most: int | None = LABEL) -> str:
    """Return what anybody wrote as one line that Mermaid shows and never reads as syntax."""
    line = " ".join(text.split())
    if most is not None and len(line) > most:
        line = line[: most - 1].rstrip() + "…"
    return line.translate(_CODES)
