"""`publish`: put a message into a mailbox by hand."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Final, NoReturn, TextIO

import click

from streams.inspection.broker import Client
from streams.masking import mask, mask_text
from streams.operators.audit import Entry, append
from streams.operators.draft import BadDraft, mailbox
from streams.operators.publish import Published, blank, copied, publish, reply_to, sealed
from streams.payload import Json
from streams.reply import Reply
from streams.settings import Settings
from web.terminal.session import emit, operator_name, say, with_broker
from web.terminal.text import plain

LOOK_SECONDS: Final = 0.2


@click.command("publish")
@click.argument("file", type=click.File("r"), required=False)
@click.option("--copy", "source", default="", help="Begin with a copy of TOPIC/OFFSET.")
@click.option("--text", help="What the customer says.")
@click.option("--email", help="The customer's e-mail address.")
@click.option("--session", help="The conversation; else a new one.")
@click.option("--id", "turn_id", help="The turn's id; else a new one. Published once.")
@click.option("--route", default="", help="Mailboxes to visit, with commas between.")
@click.option("--wait", type=float, default=0, help="Seconds to wait for the reply, and show it.")
@click.option("--unmask", is_flag=True, help="Show personal data; it is audited.")
@click.option("--dry-run", is_flag=True, help="Show the message, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a result.")
def publish_command(
    file: TextIO | None,
    source: str,
    text: str | None,
    email: str | None,
    session: str | None,
    turn_id: str | None,
    route: str,
    wait: float,
    unmask: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put a message into a mailbox by hand, marked as such.

    The message is the JSON in FILE (- for stdin), a copy of a record, or a new turn; the options
    replace what stands there. Exit status 1 if it is refused or has no reply in time.
    """
    if file is not None and source:
        raise click.UsageError("FILE and --copy are two ways to begin: take one.")
    given = file.read() if file is not None else None
    fields: dict[tuple[str, ...], str | None] = {
        ("payload", "text"): text,
        ("payload", "email"): email,
        ("session_id",): session,
        ("id",): turn_id,
    }
    steps = [mailbox(step.strip()) for step in route.split(",")] if route else None

    async def work(client: Client, settings: Settings) -> None:
        if unmask:
            entry = Entry(operator=operator_name(), action="unmask", target="publish")
            await append(client, settings, entry)
        document = await _begin(client, settings, given, source)
        for path, value in fields.items():
            if value is not None:
                _set(document, path, value)
        if steps is not None:
            _set(document, ("slip", "steps"), steps)
        draft = json.dumps(document, indent=2, ensure_ascii=False)
        try:
            if dry_run:
                sealed(draft, operator_name(), datetime.now(UTC))
                click.echo(draft if unmask else mask_text(draft))
                return
            done = await publish(client, settings, operator_name(), draft)
        except BadDraft as bad:
            _refuse(bad, as_json)
        _tell(done, as_json)
        if wait > 0:
            await _wait(client, settings, done, wait, unmask, as_json)

    with_broker(work)


async def _begin(client: Client, settings: Settings, given: str | None, source: str) -> Json:
    if given is not None:
        try:
            document = json.loads(given)
        except ValueError as error:
            raise click.ClickException(f"The message is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise click.ClickException("The message must be a JSON object.")
        for name in ("id", "session_id"):
            document.setdefault(name, blank()[name])
        return document
    if source:
        topic, _, offset = source.rpartition("/")
        if not (offset.isascii() and offset.isdigit()):
            raise click.ClickException("--copy takes TOPIC/OFFSET, as mesh.journal/12.")
        return await copied(client, settings, mailbox(topic), int(offset))
    return blank()


def _set(document: Json, path: tuple[str, ...], value: object) -> None:
    *parents, name = path
    for parent in parents:
        inner = document.setdefault(parent, {})
        if not isinstance(inner, dict):
            inner = document[parent] = {}
        document = inner
    document[name] = value


def _refuse(bad: BadDraft, as_json: bool) -> NoReturn:
    problems = [problem.model_dump() for problem in bad.problems]
    if as_json:
        emit({"published": False, "problems": problems})
        sys.exit(1)
    raise click.ClickException("\n".join(["This is no message yet:", *_lines(bad)]))


def _lines(bad: BadDraft) -> list[str]:
    return [plain(f"  {one.path or 'document'}: {one.text}") for one in bad.problems]


def _tell(done: Published, as_json: bool) -> None:
    told = {
        "published": not done.repeated,
        "topic": done.topic,
        "offset": done.offset,
        "session_id": done.message.session_id,
        "turn": done.message.id,
        "steps": list(done.message.slip.steps),
    }
    if as_json:
        emit(told)
        return
    said = "was there already" if done.repeated else "is published"
    click.echo(
        f"Turn {done.message.id} of {done.message.session_id} {said}: "
        f"{done.topic}, offset {done.offset}"
    )


async def _wait(
    client: Client, settings: Settings, done: Published, seconds: float, unmask: bool, as_json: bool
) -> None:
    message = done.message
    reply: Reply | None = None
    try:
        async with asyncio.timeout(seconds):
            while reply is None:
                reply = await reply_to(client, settings, message.session_id, message.id)
                if reply is None:
                    await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        say(f"No reply within {seconds:g} seconds; the turn may still be worked on.")
        sys.exit(1)
    told = reply.model_dump(mode="json")
    told = told if unmask else mask(told)
    if as_json:
        emit(told)
    else:
        click.echo(plain(f"{told['state']}: {told['response']}"))
