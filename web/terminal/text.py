"""Text for terminals: tables, sizes, and nothing that a terminal would obey."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import click

# Controls other than tab and line feed, those of eight bits, and what turns the direction of text.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return `text` without what a terminal would obey instead of showing it."""
    return _CONTROL.sub("\ufffd", text)


def size(count: int | None) -> str:
    """Return a number of bytes as people read it; a dash for none."""
    if count is None:
        return "-"
    value, units = float(count), ("B", "KB", "MB", "GB", "TB")
    for unit in units:
        if value < 1000 or unit == units[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def number(count: int | None) -> str:
    """Return a count with its thousands apart; a dash for none."""
    return "-" if count is None else f"{count:,}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: str = "") -> str:
    """Return rows in columns below their heads.

    `right` names the columns, by their heads' first letters' places (`"234"`), that hold numbers.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    numbers = {int(place) for place in right}

    def line(row: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if place in numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(aligned).rstrip()

    return "\n".join([click.style(line(heads), bold=True), *map(line, cells)])
