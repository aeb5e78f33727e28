"""`record`: finished turns out of the journal into a file, and back."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import click

from streams.inspection.broker import Client
from streams.masking import mask_text
from streams.message import Message
from streams.operators.audit import Entry, append
from streams.payload import Json
from streams.replay.anonymous import Anonymous
from streams.replay.intake import Taken, take_in
from streams.replay.lines import BadLine
from streams.replay.recording import Header, Writer, writing
from streams.replay.request import THE_JOURNAL
from streams.replay.selection import Selection
from streams.replay.source import Source, Turns, find
from streams.replay.versions import Versions
from streams.settings import Settings
from streams.topics import declare_topics
from web.terminal.bar import bar
from web.terminal.selecting import selecting, selection
from web.terminal.session import emit, operator_name, say, with_broker
from web.terminal.text import number, plain

SAID: Final = 20
"""Bad lines whose reasons are said; of further ones, how many there are."""


class Bad:
    """What held no turn: all are counted, and of the first it is said why."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[BadLine] = []

    def add(self, line: BadLine) -> None:
        """Count one."""
        self.count += 1
        if len(self.first) < SAID:
            self.first.append(line)

    def as_json(self) -> Json:
        """Return what a summary for machines says of them."""
        return {"bad": self.count, "bad_lines": [asdict(line) for line in self.first]}

    def tell(self, what: str) -> None:
        """Say what is wrong with which line, or record, of the source."""
        for line in self.first:
            say(plain(f"{what} {line.number}: {line.reason}"))
        if self.count > len(self.first):
            say(f"… and {number(self.count - len(self.first))} more that could not be read")


@click.group()
def record() -> None:
    """Finished turns: take them out of the journal into a file, or bring them in."""


@record.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@selecting
@click.option("--anonymous", is_flag=True, help="Exchange personal data, the same for the same.")
@click.option("--json", "as_json", is_flag=True, help="What was done as one JSON object.")
def export_command(file: Path, anonymous: bool, as_json: bool, **which: Any) -> None:
    """Write the journal's turns to FILE, packed if it ends in .gz; `-` is stdout.

    Whoever takes personal data out is written down. Without it (--anonymous) the turns are read
    twice; what only the sense of a sentence gives away stays: look before you share.
    """
    to_stdout = str(file) == "-"
    if to_stdout and as_json:
        raise click.UsageError("--json and - are both about stdout: choose one.")
    wanted = selection(**which)

    async def work(client: Client, settings: Settings) -> None:
        source = await find(THE_JOURNAL, wanted, client, settings.prefix)
        detail = {"anonymous": anonymous, **_described(wanted, file)}
        await _audit(client, settings, "export", detail)

        def turns() -> Turns:
            return Turns(source, client, settings.prefix)

        done = _Exported()
        with _written(file, to_stdout, Header(anonymous=anonymous)) as writer:
            if anonymous:
                with closing(Anonymous()) as changing:
                    await _learn(changing, turns())
                    await done.write(turns(), writer, changing.changed)
            else:
                await done.write(turns(), writer, lambda turn: turn)
        done.tell("standard output" if to_stdout else str(file), as_json)

    with_broker(work)


@contextmanager
def _written(file: Path, to_stdout: bool, header: Header) -> Iterator[Writer]:
    if not to_stdout:
        with writing(file, header) as writer:
            yield writer
        return
    out = click.get_binary_stream("stdout")
    writer = Writer(out, packed=False, header=header)
    yield writer
    out.flush()


async def _learn(changing: Anonymous, turns: Turns) -> None:
    learned = 0
    with bar("turns looked through") as progress:
        async with aclosing(aiter(turns)) as items:
            async for item in items:
                if isinstance(item, Message):
                    changing.learn(item)
                    learned += 1
                progress.show(turns.progress, learned)


class _Exported:
    """What was written, and what could not be."""

    def __init__(self) -> None:
        self.turns = 0
        self.versions = Versions()
        self.bad = Bad()

    async def write(
        self, turns: Turns, writer: Writer, changed: Callable[[Message], Message]
    ) -> None:
        with bar("turns") as progress:
            async with aclosing(aiter(turns)) as items:
                async for item in items:
                    if isinstance(item, BadLine):
                        self.bad.add(item)
                    else:
                        writer.write(changed(item))
                        self.turns += 1
                        self.versions.add(item)
                    progress.show(turns.progress, self.turns)

    def tell(self, where: str, as_json: bool) -> None:
        if as_json:
            emit(
                {
                    "file": where,
                    "turns": self.turns,
                    "code": sorted(self.versions.code),
                    "models": sorted(self.versions.models),
                    "prompts": [
                        {"actor": actor, "version": version}
                        for actor, version in sorted(self.versions.prompts)
                    ],
                    **self.bad.as_json(),
                }
            )
            return
        say(plain(f"{_turns(self.turns)} written to {where}."))
        self.bad.tell("record")


@record.command("import")
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@selecting
@click.option("--json", "as_json", is_flag=True, help="What was done as one JSON object.")
def import_command(file: Path, as_json: bool, **which: Any) -> None:
    """Bring the turns of FILE, a recording, into this mesh's journal; `-` is stdin.

    A turn that is there already stays as it is. Exit status 1 if a line could not be read.
    """
    wanted = selection(**which)
    with _readable(file) as path:
        _import(file, path.absolute(), wanted, as_json)


@contextmanager
def _readable(file: Path) -> Iterator[Path]:
    """Yield the file, or one that holds what stdin says: it is looked at before it is read."""
    if str(file) != "-":
        yield file
        return
    with NamedTemporaryFile() as spooled:
        shutil.copyfileobj(click.get_binary_stream("stdin"), spooled)
        spooled.flush()
        yield Path(spooled.name)


def _import(file: Path, path: Path, wanted: Selection, as_json: bool) -> None:
    async def work(client: Client, settings: Settings) -> None:
        source = await find(str(path), wanted)
        if source.kind != "recording":
            raise click.ClickException(
                "These are conversations that no mesh has worked on: there are no finished turns "
                "in them. `python app.py replay` has them worked on."
            )
        await declare_topics(client.jetstream(), settings)  # it may be a mesh that never ran
        await _audit(client, settings, "import", _described(wanted, file))
        counts, bad = await _bring(client, settings, source)
        if as_json:
            emit({"file": str(file), **counts, **bad.as_json()})
        else:
            came, known = counts["new"], counts["known"]
            there = f", {number(known)} were there already" if known else ""
            say(f"{_turns(came)} brought in{there}.")
            bad.tell("line")
        sys.exit(1 if bad.count else 0)

    with_broker(work)


async def _bring(client: Client, settings: Settings, source: Source) -> tuple[dict[str, int], Bad]:
    turns = Turns(source)
    counts = {"new": 0, "known": 0}
    bad = Bad()
    with bar("turns") as progress:
        async with aclosing(take_in(client, settings, operator_name(), turns)) as results:
            async for each in results:
                if isinstance(each, Taken):
                    counts["known" if each.repeated else "new"] += 1
                else:
                    bad.add(each)
                progress.show(turns.progress, sum(counts.values()))
    return counts, bad


async def _audit(client: Client, settings: Settings, action: str, detail: Json) -> None:
    entry = Entry(operator=operator_name(), action=action, target="journal", detail=detail)
    await append(client, settings, entry)


def _described(wanted: Selection, file: Path) -> Json:
    detail: Json = {"file": file.name, **wanted.model_dump(mode="json", exclude_none=True)}
    if wanted.filter is not None:
        detail["filter"] = mask_text(wanted.filter)
    return detail


def _turns(count: int) -> str:
    return "1 turn is" if count == 1 else f"{number(count)} turns are"
