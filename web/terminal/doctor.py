"""`doctor`: look at machine, settings and servers, and say what to do."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

import aiohttp
import click
from dotenv import dotenv_values

from streams.checkup.broker import check_broker
from streams.checkup.finding import Finding, Verdict, failed, ok
from streams.checkup.place import check_place
from streams.checkup.roles import PUBLISH, Role
from streams.settings import Settings
from tables.checkup import check_redis
from web.terminal.session import quiet_connections
from web.terminal.text import plain

REACH_SECONDS: Final = 5.0
COLOURS: Final[dict[Verdict, str]] = {
    "ok": "green",
    "warning": "yellow",
    "failed": "red",
    "skipped": "bright_black",
}

#: What rooms ask of the outside that this one does not know.
Services = Callable[[Settings], dict[str, str]]
AskModel = Callable[[Settings], Awaitable[Finding]]


def create_doctor(services: Services, ask_model: AskModel) -> click.Command:
    """Return the command. `services` gives what actors call over HTTP: by setting, the URL."""

    @click.command()
    @click.option(
        "--role",
        "roles",
        type=click.Choice(sorted(PUBLISH)),
        multiple=True,
        help="Whose rights the login must have; else those of all.",
    )
    @click.option("--model", is_flag=True, help="Ask the model one short question, which may cost.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a finding.")
    def doctor(roles: tuple[Role, ...], model: bool, as_json: bool) -> None:
        """Check settings, disk, servers, rights, topics, shop and model; say what to do.

        Exit status 1 if the mesh would not work.
        """
        settings: Settings = click.get_current_context().obj()

        async def work() -> bool:
            good = True
            findings = _findings(settings, roles, services(settings))
            async with aclosing(findings):
                async for finding in findings:
                    _tell(finding, as_json)
                    good = good and finding.verdict != "failed"
            if model:
                finding = await ask_model(settings)
                _tell(finding, as_json)
                good = good and finding.verdict != "failed"
            return good

        # What connections complain of becomes a finding, and is not said twice.
        with quiet_connections(logging.CRITICAL):
            good = asyncio.run(work())
        if not good:
            sys.exit(1)

    return doctor


async def _findings(
    settings: Settings, roles: tuple[Role, ...], services: dict[str, str]
) -> AsyncGenerator[Finding, None]:
    roles = roles or tuple(PUBLISH)
    for finding in check_place(settings, _variables(), roles):
        yield finding
    async with aclosing(check_broker(settings, roles)) as findings:
        async for finding in findings:
            yield finding
    if "worker" in roles:  # pages ask neither
        yield await check_redis(settings)
        for name, url in services.items():
            yield await _reach(name, url)


def _variables() -> dict[str, str]:
    """Return the environment with the lines of `.env`, as settings are read from both."""
    lines = {name: value or "" for name, value in dotenv_values(".env").items()}
    return {**lines, **os.environ}


async def _reach(name: str, url: str) -> Finding:
    """Return whether anybody answers at an address; what is answered, only its API knows."""
    timeout = aiohttp.ClientTimeout(total=REACH_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        text = str(error) or f"no answer within {REACH_SECONDS:g} s"
        return failed(
            name,
            f"{url} cannot be reached: {text}",
            f"Look at {name}, and whether the network lets us through.",
        )
    if status >= 500:
        return failed(name, f"{url} answers {status}", "Ask those who run it.")
    return ok(name, f"{url} answers")


def _tell(finding: Finding, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(finding.model_dump(), ensure_ascii=False))
        return
    verdict = click.style(finding.verdict.ljust(8), fg=COLOURS[finding.verdict])
    click.echo(f"{verdict} {finding.check.ljust(19)} {plain(finding.text)}")
    if finding.advice:
        click.echo(f"{' ' * 29}→ {plain(finding.advice)}")
