"""`topics`: every topic, or one with its partitions."""

import asyncio
from typing import Final

import click

from streams.inspection.broker import Client
from streams.inspection.overview import RATE_SECONDS, Observer, Overview, TopicView
from streams.settings import Settings
from web.terminal.session import emit, with_broker
from web.terminal.text import number, size, table

WATCH_SECONDS: Final = 2.0


@click.command()
@click.argument("topic", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a look.")
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
def topics(topic: str | None, as_json: bool, watch: bool) -> None:
    """List the topics: records, bytes, the last minute, lag. With TOPIC its partitions."""

    async def work(client: Client, settings: Settings) -> None:
        observer = Observer(client, settings)
        while True:
            seen = await observer.look()
            chosen = _chosen(seen, topic)
            if as_json:
                emit((chosen or seen).model_dump_json())
            else:
                text = _detail(chosen, seen) if chosen else _summary(seen)
                if watch:
                    click.clear()
                click.echo(text)
            if not watch:
                return
            await asyncio.sleep(WATCH_SECONDS)

    with_broker(work)


def _chosen(seen: Overview, name: str | None) -> TopicView | None:
    if name is None:
        return None
    if found := seen.topic(name) or seen.topic(f"mesh.{name}"):
        return found
    there = ", ".join(topic.name for topic in seen.topics) or "none"
    raise click.ClickException(f"There is no topic {name!r}. There are: {there}.")


def _summary(seen: Overview) -> str:
    if not seen.topics:
        return f"There are no topics below the prefix {seen.prefix!r} yet: no worker has run."
    rows = [
        (
            topic.name,
            topic.kind,
            number(topic.messages),
            size(topic.bytes),
            number(topic.last_minute),
            number(topic.lag),
            str(len(topic.partitions)),
        )
        for topic in seen.topics
    ]
    heads = ("TOPIC", "KIND", "RECORDS", "SIZE", f"LAST {RATE_SECONDS:.0f} s", "LAG", "PARTITIONS")
    text = table(heads, rows, right="23456")
    return f"{text}\n\n{size(seen.bytes)} in all\n{_groups(seen)}"


def _groups(seen: Overview) -> str:
    lines = []
    for group in seen.groups:
        state = ", rebalancing: nobody owns partitions just now" if group.rebalancing else ""
        lines.append(f"Group {group.name}, generation {group.generation}{state}")
        lines += [
            f"  {member.name}: {member.partitions} partitions, {member.standbys} standbys"
            + ("" if member.alive else ", gone")
            for member in group.members
        ]
        lines += [] if group.members else ["  no workers"]
    return "\n".join(lines) or "No group of workers reads here."


def _days(seconds: float) -> str:
    days = seconds / 86_400
    return "1 day" if days == 1 else f"{days:,.3g} days"


def _detail(topic: TopicView, seen: Overview) -> str:
    rows = []
    for partition in topic.partitions:
        head = (
            str(partition.number),
            number(partition.messages),
            "-" if partition.first_offset is None else str(partition.first_offset),
            "-" if partition.last_offset is None else str(partition.last_offset),
        )
        for reading in partition.readers:
            rows.append(
                (
                    *head,
                    reading.group,
                    "-" if reading.committed is None else str(reading.committed),
                    number(reading.lag),
                    reading.owner or "nobody",
                    ", ".join(reading.standbys) or "-",
                )
            )
            head = ("", "", "", "")
        if not partition.readers:
            rows.append((*head, "-", "-", "-", "-", "-"))
    heads = ("P", "RECORDS", "FIRST", "LAST", "GROUP", "COMMITTED", "LAG", "OWNER", "STANDBYS")
    kept = (
        "records stay"
        if topic.retention_seconds is None
        else f"records stay {_days(topic.retention_seconds)}"
    )
    compacted = ", only the last of each key" if topic.compacted else ""
    return (
        f"{topic.name}: {topic.kind}, {number(topic.messages)} records, {size(topic.bytes)}, "
        f"{number(topic.last_minute)} in the last {RATE_SECONDS:.0f} s; {kept}{compacted}\n\n"
        f"{table(heads, rows, right='012356')}\n\n{_groups(seen)}"
    )
