"""`conversation`: one session over all topics, hop by hop."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import click

from streams.inspection.assembly import conversation as assembled
from streams.inspection.broker import Client
from streams.inspection.conversation import CUSTOMER, Conversation, Step, Turn
from streams.inspection.difference import Change
from streams.inspection.sequence import mermaid, milliseconds, remark, slots
from streams.inspection.trail import MOST, Trail
from streams.masking import mask
from streams.message import ID_PATTERN
from streams.operators.audit import Entry, append
from streams.settings import Settings
from tables.history import journal_offsets
from web.terminal.session import emit, operator_name, say, with_broker
from web.terminal.text import number, plain, table

SHOWN: Final = 160
"""Characters of a value that a difference shows."""

_SIGNS: Final = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}


@click.command()
@click.argument("session")
@click.option("--json", "as_json", is_flag=True, help="The whole conversation as one document.")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="A Mermaid sequence diagram.")
@click.option("--difference", "with_differences", is_flag=True, help="What each hop changed.")
@click.option("--unmask", is_flag=True, help="Show personal data; it is audited.")
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=MOST,
    show_default=True,
    help="Records of each topic to look through, from the newest on.",
)
def conversation(
    session: str,
    as_json: bool,
    as_mermaid: bool,
    with_differences: bool,
    unmask: bool,
    most: int,
) -> None:
    """Show one SESSION: every message over all topics, with times and what each hop changed."""
    if as_json and as_mermaid:
        raise click.UsageError("--json and --mermaid are two ways to say it: choose one.")
    if not re.fullmatch(ID_PATTERN, session):
        raise click.BadParameter("a session's id has letters, digits, dashes and underscores")

    async def work(client: Client, settings: Settings) -> None:
        if unmask:
            target = f"conversation {session}"
            entry = Entry(operator=operator_name(), action="unmask", target=target)
            await append(client, settings, entry)
        ends = journal_offsets(settings.data_dir, session)
        trail = Trail(client, settings.prefix, session, most=most, ends=ends)
        await trail.look()
        found = assembled(trail, None if unmask else mask)
        if not found.turns and not found.unreadable:
            raise click.ClickException(f"There is nothing of session {session!r}. {_left(found)}")
        if as_json:
            emit(found.model_dump_json())
        elif as_mermaid:
            click.echo(mermaid(found), nl=False)
        else:
            click.echo("\n".join(_lines(found, with_differences)))
        if not found.complete:
            say(_left(found))

    with_broker(work)


def _left(found: Conversation) -> str:
    """Return what was not looked at, and what to do about it."""
    partly = [covered for covered in found.coverage if not covered.complete]
    if not partly:
        return "Every topic was looked through whole."
    parts = (f"{one.topic} ({number(one.looked_at)} of {number(one.records)})" for one in partly)
    return (
        "Of these topics only the newest records were looked through: "
        f"{', '.join(parts)}. Older turns that were answered are found all the same; "
        "--most looks through more."
    )


def _lines(found: Conversation, with_differences: bool) -> Iterator[str]:
    turns = f"{len(found.turns)} turn{'' if len(found.turns) == 1 else 's'}"
    masked = ", personal data masked" if found.masked else ""
    yield click.style(f"Conversation {found.session_id}", bold=True) + f", {turns}{masked}"
    for turn in found.turns:
        yield ""
        yield from _turn(turn, with_differences)
    for burial in found.unreadable:
        place = f"{burial.place.topic} {burial.place.partition}/{burial.place.offset}"
        yield plain(f"\nNo message: {place} {burial.reason}")


def _turn(turn: Turn, with_differences: bool) -> Iterator[str]:
    state = turn.state.replace("_", " ")
    if turn.ended_at is not None:
        lasted = (turn.ended_at - turn.at).total_seconds() * 1000
        state += f" after {milliseconds(max(0.0, lasted))}"
    times = f"waited {milliseconds(turn.waiting_ms)}, worked {milliseconds(turn.working_ms)}"
    heading = f"Turn {turn.number or '?'}  {turn.at:%Y-%m-%d %H:%M:%S}  {state} ({times})"
    yield click.style(heading, bold=True)
    yield plain(f"{CUSTOMER}: {turn.text}")
    rows = [_row(step) for step in turn.steps]
    heads = ("SENT", "FROM", "TO", "WAITED", "WORKED", "CHANGED", "")
    head, *lines = table(heads, rows, right="34").splitlines()
    yield head
    for step, line in zip(turn.steps, lines, strict=True):
        yield click.style(line, fg=_colour(step))
        if with_differences:
            yield from (_change(change) for change in step.difference)
    for burial in turn.burials:
        line = f"dead letter {burial.place.offset}, from {burial.actor}: {burial.reason}"
        yield click.style(plain(line), fg="red")
    for answer in turn.answers:
        yield plain(f"{answer.author}: {answer.text}")


def _row(step: Step) -> tuple[str, ...]:
    return (
        _clock(step.sent_at or step.started_at),
        step.sender,
        step.actor,
        "-" if step.waiting_ms is None else milliseconds(step.waiting_ms),
        "-" if step.working_ms is None else milliseconds(step.working_ms),
        ", ".join(slots(step)),
        " ".join(remark(step).split()),
    )


def _colour(step: Step) -> str | None:
    if step.outcome in ("failed", "dead") or step.guardrail == "refused":
        return "red"
    return "yellow" if step.outcome in ("retry", "open", "waits") else None


def _change(change: Change) -> str:
    sign, colour = _SIGNS[change.kind]
    values = {
        "added": _value(change.after),
        "changed": f"{_value(change.before)} → {_value(change.after)}",
        "removed": _value(change.before),
    }
    return click.style(plain(f"    {sign} {change.path}: {values[change.kind]}"), fg=colour)


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _clock(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"
