"""What is wrong with the options of a command, said as the command line says it."""

import click
from pydantic import ValidationError

from streams.message import ID_PATTERN


def usage_error(error: ValidationError) -> click.UsageError:
    """Return what a model of a command's options has found first, with the option's name."""
    found = error.errors(include_url=False, include_input=False)[0]
    option = "".join(f"--{part}: ".replace("_", "-") for part in found["loc"][:1])
    said = found["msg"].removeprefix("Value error, ")
    if found.get("ctx", {}).get("pattern") == ID_PATTERN:
        said = "an id has letters, digits, dashes and underscores"
    return click.UsageError(f"{option}{said}")
