"""`deadletters`: list what could not be worked on, look at it, and send it on."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import click

from streams.inspection.broker import Client
from streams.masking import mask, mask_text
from streams.operators.audit import Entry, append
from streams.operators.draft import BadDraft, mailbox
from streams.operators.fates import Fate, as_json, fates
from streams.operators.letters import Letter, NoLetter, Wanted, find, read
from streams.operators.redrive import AlreadyRedriven, Change, edited, plan, redrive, set_aside
from streams.payload import Json
from streams.settings import Settings
from web.terminal.moment import MOMENT
from web.terminal.session import emit, operator_name, say, with_broker
from web.terminal.text import plain, table

Command = Callable[..., Any]

_unmask = click.option("--unmask", is_flag=True, help="Show personal data; it is audited.")
_json = click.option("--json", "as_json_lines", is_flag=True, help="One JSON object a letter.")


def _filters(command: Command) -> Command:
    for option in (
        click.option("--until", type=MOMENT, help="Buried then or before."),
        click.option("--since", type=MOMENT, help="Buried then or later: a time, or 2h, 3d (ago)."),
        click.option("--topic", default="", help="Came from this topic."),
        click.option("--reason", default="", help="The reason holds this text."),
    ):
        command = option(command)
    return command


@click.group()
def deadletters() -> None:
    """What could not be worked on: list it, look at it, send it on or set it aside."""


@deadletters.command("list")
@_filters
@click.option("--limit", default=50, show_default=True, help="At most so many; 0: all.")
@click.option("--open", "only_open", is_flag=True, help="Only those about which nothing was done.")
@_unmask
@_json
def list_command(
    limit: int, only_open: bool, unmask: bool, as_json_lines: bool, **filters: Any
) -> None:
    """List letters, newest first, with what became of them."""

    async def work(client: Client, settings: Settings) -> None:
        if unmask:
            await _asked(client, settings, "dead letters")
        shown = await _select(client, settings, filters, limit, only_open=only_open)
        rows = [_shown(as_json(letter, fate), unmask) for letter, fate in shown]
        if as_json_lines:
            for row in rows:
                emit(row)
            return
        if not rows:
            click.echo("There are no such dead letters.")
            return
        heads = ("LETTER", "BURIED", "FROM", "SESSION", "REASON", "BECAME")
        click.echo(table(heads, [_row(row) for row in rows], right="0"))

    with_broker(work)


@deadletters.command("show")
@click.argument("letter", type=int)
@_unmask
@click.option("--message", "only_message", is_flag=True, help="Only its bytes, to edit.")
@_json
def show_command(letter: int, unmask: bool, only_message: bool, as_json_lines: bool) -> None:
    """Show one letter whole."""

    async def work(client: Client, settings: Settings) -> None:
        found = await read(client, settings, letter)
        if unmask:
            await _asked(client, settings, found.target)
        text = found.text() if unmask else mask_text(found.text())
        if only_message:
            click.echo(text if as_json_lines or not sys.stdout.isatty() else plain(text))
            return
        (fate,) = await fates(client, settings, [found])
        told = _shown(as_json(found, fate), unmask) | {"value": text}
        if as_json_lines:
            emit(told)
            return
        for name, value in told.items():
            if value not in (None, [], ""):
                click.echo(plain(f"{name.replace('_', ' '):<12}{_said(value)}"))

    with_broker(work)


@deadletters.command("redrive")
@click.argument("letters", type=int, nargs=-1)
@_filters
@click.option("--route", default="", help="Mailboxes to visit, with commas between.")
@click.option("--on-error", default="", help="The mailbox to turn to on a failure.")
@click.option(
    "--message", type=click.File("r"), help="The message to send in the place of one letter's."
)
@click.option("--again", is_flag=True, help="Also what was redriven or set aside before.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json
def redrive_command(
    letters: tuple[int, ...],
    route: str,
    on_error: str,
    message: TextIO | None,
    again: bool,
    dry_run: bool,
    yes: bool,
    as_json_lines: bool,
    **filters: Any,
) -> None:
    """Send letters on: those named, or the open ones that the filters find.

    Each goes on where it was, through its session's door. Exit status 1 if one could not.
    """
    if not letters and not any(filters.values()):
        raise click.UsageError("Name letters, or say which with --reason, --topic, --since.")
    if message is not None and len(letters) != 1:
        raise click.UsageError("--message is for one letter.")
    if as_json_lines and not (dry_run or yes):
        raise click.UsageError("--json needs --yes or --dry-run: there is nobody to ask.")
    change = Change(
        text=message.read() if message else None,
        steps=[mailbox(step.strip()) for step in route.split(",")] if route else None,
        on_error=mailbox(on_error) if on_error else None,
    )

    async def work(client: Client, settings: Settings) -> None:
        if letters:
            named = [await read(client, settings, offset) for offset in letters]
            chosen = list(zip(named, await fates(client, settings, named), strict=True))
        else:
            chosen = await _select(client, settings, filters, 0, only_open=not again)
        plans = [_plan(letter, fate, change, again) for letter, fate in chosen]
        if dry_run or not as_json_lines:
            _preview(plans, as_json_lines)
        ready = [(each, fate) for each, (_, fate) in zip(plans, chosen, strict=True) if each["ok"]]
        failed = len(plans) - len(ready)
        if as_json_lines and not dry_run:
            for each in plans:
                if not each["ok"]:
                    emit(each | {"redriven": False})
        if dry_run or not ready:
            sys.exit(1 if failed else 0)
        if not yes and not click.confirm(f"Send {len(ready)} on?", err=True):
            sys.exit(1)
        for each, fate in ready:
            failed += not await _send(client, settings, each, change, fate, as_json_lines)
        sys.exit(1 if failed else 0)

    with_broker(work)


@deadletters.command("aside")
@click.argument("letters", type=int, nargs=-1, required=True)
@click.option("--note", required=True, help="Why nothing is to be done.")
def aside_command(letters: tuple[int, ...], note: str) -> None:
    """Set letters aside: they stay, and are no longer listed as open."""

    async def work(client: Client, settings: Settings) -> None:
        for offset in letters:
            await set_aside(client, settings, operator_name(), offset, note)

    with_broker(work)


async def _select(
    client: Client, settings: Settings, filters: Json, limit: int, *, only_open: bool
) -> list[tuple[Letter, Fate]]:
    wanted = Wanted.model_validate(filters)
    chosen: list[tuple[Letter, Fate]] = []
    before: int | None = None
    while True:
        page = await find(client, settings, wanted, before=before)
        told = await fates(client, settings, page.letters)
        for letter, fate in zip(page.letters, told, strict=True):
            if fate.open or not only_open:
                chosen.append((letter, fate))
        before = page.before
        if before is None or 0 < limit <= len(chosen):
            return chosen[:limit] if limit else chosen


def _plan(letter: Letter, fate: Fate, change: Change, again: bool) -> Json:
    """Return what would be sent of a letter, or why nothing can be."""
    told: Json = {"letter": letter.offset, "ok": False, "reason": letter.reason}
    if fate.redrives and not again:
        last = fate.redrives[-1]
        return told | {"problem": f"{last.operator} redrove it already: --again does it again"}
    try:
        message = plan(letter, change, operator_name(), len(fate.redrives) + 1, datetime.now(UTC))
    except BadDraft as bad:
        return told | {"problem": str(bad)}
    return told | {
        "ok": True,
        "session_id": message.session_id,
        "turn": message.id,
        "steps": list(message.slip.steps),
        "edited": edited(letter, message),
    }


def _preview(plans: list[Json], as_json_lines: bool) -> None:
    for each in plans:
        if as_json_lines:
            emit(each)
        elif each["ok"]:
            changed = f", changed: {', '.join(each['edited'])}" if each["edited"] else ""
            to = " → ".join(_short(step) for step in each["steps"])
            click.echo(plain(f"{each['letter']:>8}  {to}{changed}"))
        else:
            click.echo(plain(f"{each['letter']:>8}  cannot go on: {each['problem']}"))


async def _send(
    client: Client, settings: Settings, each: Json, change: Change, fate: Fate, as_json_lines: bool
) -> bool:
    try:
        done = await redrive(
            client, settings, operator_name(), each["letter"], change, seen=len(fate.redrives)
        )
    except (AlreadyRedriven, NoLetter, BadDraft) as error:
        said: Json = {"redriven": False, "problem": str(error)}
    else:
        said = {"redriven": True, "topic": done.topic, "offset": done.offset}
    if as_json_lines:
        emit(each | said)
    elif said["redriven"]:
        click.echo(f"{each['letter']:>8}  is on its way: {done.topic}, offset {done.offset}")
    else:
        say(f"{each['letter']:>8}  was not sent: {said['problem']}")
    return bool(said["redriven"])


async def _asked(client: Client, settings: Settings, target: str) -> None:
    await append(client, settings, Entry(operator=operator_name(), action="unmask", target=target))


def _shown(told: Json, unmask: bool) -> Json:
    masked: Json = told if unmask else mask(told)
    return masked


def _row(row: Json) -> tuple[str, ...]:
    became = row["became"] or "-"
    if row["again"]:
        became = f"buried again: {row['again']}"
    if row["redrives"]:
        became = f"{became} ({row['redrives'][-1]['operator']})"
    buried = datetime.fromisoformat(row["buried_at"]).astimezone()
    return (
        str(row["offset"]),
        f"{buried:%Y-%m-%d %H:%M:%S}",
        _short(row["topic"] or "-"),
        row["session_id"] or "-",
        _cut(row["reason"], 60),
        became,
    )


def _said(value: Any) -> str:
    if isinstance(value, list):
        return "".join(f"\n  {_said(one)}" for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(inner)}" for name, inner in value.items())
    return str(value)


def _short(topic: str) -> str:
    return topic.rpartition(".")[2]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
