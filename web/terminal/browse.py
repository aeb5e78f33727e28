"""`browse` and `tail`: the records of a topic, those there are and those that come."""

import sys
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

import click

from streams.inspection.broker import Client
from streams.inspection.expression import BadExpression, Expression
from streams.inspection.record import RecordView
from streams.inspection.scan import End, Filter, Progress, Query, find_topic, scan
from streams.inspection.tail import tail as follow
from streams.operators.audit import Entry, append
from streams.settings import Settings
from web.terminal.moment import MOMENT
from web.terminal.session import emit, operator_name, say, with_broker
from web.terminal.text import number, plain

Command = Callable[..., Any]

SHOWN: Final = 100
"""Characters of a record, or of one of its fields, that a line shows."""

_REASONS: Final = {
    "limit": "found as many as --limit allows",
    "records": "looked at as many as --max-records allows",
    "bytes": "read as much as one search may",
    "seconds": "searched for as long as --seconds allows",
}


class _ExpressionType(click.ParamType):
    """A JMESPath expression over a record's JSON."""

    name = "expression"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Expression:
        """Return the expression, or say where it is wrong."""
        if isinstance(value, Expression):
            return value
        try:
            return Expression(value)
        except BadExpression as error:
            mark = "" if error.position is None else f"\n  {value}\n  {' ' * error.position}^"
            self.fail(f"{error.reason}{mark}", param)


_EXPRESSION: Final = _ExpressionType()


def _which(command: Command) -> Command:
    for option in (
        click.option("--unmask", is_flag=True, help="Show personal data; it is audited."),
        click.option("--json", "as_json", is_flag=True, help="One record as JSON a line."),
        click.option(
            "--column",
            "columns",
            type=_EXPRESSION,
            multiple=True,
            help="Show this field (JMESPath) in the place of the content; may be repeated.",
        ),
        click.option(
            "--where", type=_EXPRESSION, help="Only where this JMESPath over the JSON is true."
        ),
        click.option("--text", help="Only with this text in content or headers."),
        click.option("--key", help="Only with this key, a session for instance."),
        click.option("--partition", type=click.IntRange(min=0), help="Only of this partition."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("topic")
@click.option("--oldest", is_flag=True, help="Oldest first; else the newest.")
@click.option("--offset", type=click.IntRange(min=0), help="Begin at this offset.")
@click.option("--at", type=MOMENT, help="Begin at this time, or so long ago: 90s, 2h, 3d.")
@click.option("--limit", "-n", default=20, show_default=True, type=click.IntRange(min=1))
@click.option("--max-records", default=20_000, show_default=True, type=click.IntRange(min=1))
@click.option("--seconds", default=30.0, show_default=True, type=click.FloatRange(min=0.1))
@_which
def browse(
    topic: str,
    oldest: bool,
    offset: int | None,
    at: datetime | None,
    limit: int,
    max_records: int,
    seconds: float,
    columns: tuple[Expression, ...],
    as_json: bool,
    **which: Any,
) -> None:
    """Show records of TOPIC, the newest first; Ctrl-C stops the search."""

    async def work(client: Client, settings: Settings) -> None:
        wanted = _filter(**which)
        name = await _ready(client, settings, topic, wanted)
        query = Query(
            name,
            wanted,
            newest_first=not oldest,
            offset=offset,
            at=at.timestamp() if at else None,
            limit=limit,
            max_records=max_records,
            max_seconds=seconds,
        )
        async with aclosing(scan(client, settings.prefix, query)) as results:
            async for each in results:
                if isinstance(each, RecordView):
                    _show(each, columns, as_json)
                elif isinstance(each, End):
                    _say_end(each)
                else:
                    _say_progress(each)

    with_broker(work)


@click.command()
@click.argument("topic")
@_which
def tail(topic: str, columns: tuple[Expression, ...], as_json: bool, **which: Any) -> None:
    """Show what comes on TOPIC from now on, until Ctrl-C.

    Of more than people can read the newest is shown; how many were passed over is said on stderr.
    """

    async def work(client: Client, settings: Settings) -> None:
        wanted = _filter(**which)
        name = await _ready(client, settings, topic, wanted)
        async with aclosing(follow(client, settings.prefix, name, wanted)) as news:
            await anext(news)
            say(f"Following {name}; Ctrl-C ends it.")
            async for each in news:
                if each.dropped:
                    say(f"… {number(each.dropped)} records passed over")
                for record in each.records:
                    _show(record, columns, as_json)

    with_broker(work)


def _filter(
    partition: int | None,
    key: str | None,
    text: str | None,
    where: Expression | None,
    unmask: bool,
) -> Filter:
    return Filter(partition=partition, key=key, text=text, expression=where, unmask=unmask)


async def _ready(client: Client, settings: Settings, topic: str, wanted: Filter) -> str:
    """Return the topic's whole name, the asking for personal data being written down."""
    info = await find_topic(client, settings.prefix, topic)
    if wanted.partition is not None and wanted.partition >= info.partitions:
        raise click.ClickException(
            f"{info.topic} has {info.partitions} partitions, counted from 0."
        )
    if wanted.unmask:
        entry = Entry(operator=operator_name(), action="unmask", target=f"topic {info.topic}")
        await append(client, settings, entry)
    return info.topic


def _show(record: RecordView, columns: tuple[Expression, ...], as_json: bool) -> None:
    if as_json:
        emit(record.model_dump_json())
        return
    row = record.row(columns)
    at = record.at.astimezone()
    shown = row["columns"] if columns else [row["preview"] if record.form != "null" else "deleted"]
    place = f"{record.partition}/{record.offset}"
    click.echo(
        f"{click.style(f'{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}', dim=True)}  "
        f"{place:>10}  {click.style(plain(record.key or '-'), fg='cyan')}  "
        + "  ".join(_cut(text) for text in shown)
    )


def _cut(text: str) -> str:
    text = " ".join(plain(text).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _say_progress(progress: Progress) -> None:
    if sys.stderr.isatty():
        text = f"\rlooked at {number(progress.scanned)} of {number(progress.total)} "
        click.echo(text, err=True, nl=False)


def _say_end(end: End) -> None:
    progress = end.progress
    if sys.stderr.isatty():
        click.echo("\r", err=True, nl=False)
    looked = f"Looked at {number(progress.scanned)} of {number(progress.total)} records"
    if end.go_on is None:
        say(f"{looked}, found {number(progress.found)}: that is all.")
    else:
        say(f"{looked}, {_REASONS[end.reason]}; --offset {end.go_on} goes on.")
