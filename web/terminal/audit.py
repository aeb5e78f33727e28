"""`audit`: what operators did and asked for."""

from datetime import datetime

import click

from streams.inspection.broker import Client
from streams.operators.audit import Entry, entries
from streams.settings import Settings
from web.terminal.moment import MOMENT
from web.terminal.session import emit, with_broker
from web.terminal.text import table


@click.command("audit")
@click.option("--operator", default="", help="Only what this one did.")
@click.option("--action", default="", help="Only this: redrive, publish, unmask, set aside, …")
@click.option("--target", default="", help="Only what was done to this, such as 'dead letter 12'.")
@click.option("--since", type=MOMENT, help="Then or later: a time, or 2h, 3d (ago).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an entry.")
def audit_command(
    operator: str, action: str, target: str, since: datetime | None, as_json: bool
) -> None:
    """List what operators did and which personal data they asked for, oldest first."""

    async def work(client: Client, settings: Settings) -> None:
        found = [
            entry
            for entry in await entries(client, settings, target=target or None)
            if operator in ("", entry.operator)
            and action in ("", entry.action)
            and (since is None or entry.at >= since)
        ]
        if as_json:
            for entry in found:
                emit(entry.model_dump_json())
        elif found:
            click.echo(table(("WHEN", "WHO", "DID", "TO", "MORE"), map(_row, found)))
        else:
            click.echo("The audit has no such entries.")

    with_broker(work)


def _row(entry: Entry) -> tuple[str, ...]:
    more = ", ".join(f"{name} {_said(value)}" for name, value in entry.detail.items() if value)
    when = f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}"
    return when, entry.operator, entry.action, entry.target, more


def _said(value: object) -> str:
    return " → ".join(map(str, value)) if isinstance(value, list) else str(value)
