"""The options of commands that choose among finished turns."""

from collections.abc import Callable
from typing import Any, get_args

import click
from pydantic import ValidationError

from streams.payload import IntentName
from streams.replay.selection import Selection
from streams.reply import State
from web.terminal.moment import MOMENT
from web.terminal.usage import usage_error

Command = Callable[..., Any]


def selecting(command: Command) -> Command:
    """Give a command the options that make a `Selection`."""
    for option in (
        click.option("--filter", help="A JMESPath expression over the turn, true for those meant."),
        click.option("--outcome", type=click.Choice(get_args(State)), help="Ended like this."),
        click.option(
            "--intent",
            type=click.Choice([name.value for name in IntentName]),
            help="About this.",
        ),
        click.option("--session", help="Of this conversation."),
        click.option("--until", type=MOMENT, help="Said then or before."),
        click.option("--since", type=MOMENT, help="Said then or later: a time, or 2h, 3d (ago)."),
    ):
        command = option(command)
    return command


def selection(**given: Any) -> Selection:
    """Return what the options of `selecting` mean; UsageError says which one is no good."""
    try:
        return Selection.model_validate(given)
    except ValidationError as error:
        raise usage_error(error) from None
