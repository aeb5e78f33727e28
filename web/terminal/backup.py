"""`backup` and `restore`: a mesh's streams as files, and back."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import click

from streams.backup import Kept
from streams.backup import backup as keep
from streams.backup import restore as bring_back
from streams.inspection.broker import Client
from streams.settings import Settings
from web.terminal.session import with_broker
from web.terminal.text import number, size

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("backup")
@click.argument("folder", type=FOLDER)
def backup_command(folder: Path) -> None:
    """Keep all streams in FOLDER, which must not be there yet.

    Stop the workers first, so that it is one moment. The login needs the right to take snapshots.
    """

    async def work(client: Client, settings: Settings) -> None:
        await _tell(keep(client, settings.prefix, folder))

    with_broker(work)
    click.echo(f"It is all in {folder}: what customers wrote, in the clear.")


@click.command("restore")
@click.argument("folder", type=FOLDER)
def restore_command(folder: Path) -> None:
    """Bring back the streams in FOLDER to a server that has none of them.

    Workers must not run, and must begin without their old tables on disk.
    """

    async def work(client: Client, settings: Settings) -> None:
        await _tell(bring_back(client, settings.prefix, folder))

    with_broker(work)
    click.echo("All is back. Workers may start, each with an empty data folder.")


async def _tell(streams: AsyncGenerator[Kept, None]) -> None:
    async with aclosing(streams):
        async for kept in streams:
            click.echo(f"{kept.stream}: {number(kept.records)} records, {size(kept.bytes)}")
