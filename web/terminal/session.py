"""What every command begins and ends with: the settings, a connection, errors said in one line."""

import asyncio
import getpass
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import click

from streams.bridge.connection import connect, parse_url
from streams.bridge.errors import BridgeError, NotConnected
from streams.errors import MeshError
from streams.inspection.broker import Client
from streams.settings import Settings

CONNECT_SECONDS: Final = 5.0

#: What Ctrl-C ends a program with, as shells count it.
INTERRUPTED: Final = 130


@contextmanager
def quiet_connections(level: int) -> Iterator[None]:
    """Let connections say nothing below `level`, for as long as the block takes."""
    logger = logging.getLogger("streams.bridge")
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def with_broker(work: Callable[[Client, Settings], Awaitable[None]]) -> None:
    """Run `work` with a connection to the mesh's broker, and end the program if that fails.

    The settings come from the command's group: its context's object gives them when called.
    """
    settings: Settings = click.get_current_context().obj()
    try:
        # What the connection says while it tries belongs into our one line, not before it.
        with quiet_connections(logging.ERROR):
            asyncio.run(_run(work, settings))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (BridgeError, MeshError) as error:
        raise click.ClickException(str(error)) from None


async def _run(work: Callable[[Client, Settings], Awaitable[None]], settings: Settings) -> None:
    client = await connected(settings, "mesh command line")
    try:
        await work(client, settings)
    finally:
        with suppress(Exception):
            await client.close()


async def connected(settings: Settings, name: str) -> Client:
    """Return a connection to the mesh's broker; NotConnected if none answers soon."""
    options = parse_url(settings.faust_broker())
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await connect(options, name=name)
    except TimeoutError:
        raise NotConnected(
            f"No broker answers at {', '.join(options.servers)}. `python app.py run` starts one "
            "here; MESH_BROKER_URL names one that runs elsewhere."
        ) from None


def operator_name() -> str:
    """Return who uses the command line, for the audit: the user of the operating system."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def say(text: str) -> None:
    """Tell the person at the terminal something that is no part of the result."""
    click.echo(text, err=True)


def emit(document: Any) -> None:
    """Print one JSON document on one line, at once."""
    click.echo(document if isinstance(document, str) else _json(document))


def _json(document: Any) -> str:
    import json

    return json.dumps(document, ensure_ascii=False, default=str)
