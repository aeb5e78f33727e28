"""Fixtures for commands: run one against the shared broker, as the command line would."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click import Command
from click.testing import CliRunner, Result
from nats.aio.client import Client

from streams.bridge.connection import connect, parse_url
from streams.settings import Settings

Run = Callable[..., Result]
Prepare = Callable[[Callable[[Client], Awaitable[object]]], None]


@pytest.fixture
def settings(nats_url: str, prefix: str, tmp_path: Path) -> Settings:
    return Settings(broker_url=nats_url, prefix=prefix, data_dir=tmp_path, partitions=2)


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run a command; its result has output, what went to stderr, and the exit status."""

    def invoke(
        command: Command, *arguments: str, said: str = "", mesh: Settings = settings
    ) -> Result:
        return CliRunner().invoke(command, arguments, input=said, obj=lambda: mesh)

    return invoke


@pytest.fixture
def prepare(settings: Settings) -> Prepare:
    """Do something with a connection before a command runs."""

    def connected(work: Callable[[Client], Awaitable[object]]) -> None:
        async def main() -> None:
            client = await connect(parse_url(settings.faust_broker()), name="test")
            try:
                await work(client)
            finally:
                await client.close()

        asyncio.run(main())

    return connected
