"""A replay as a JUnit file, which CI systems show test by test: a case for each turn.

Every turn is a case, so that a CI system knows how many there were and follows each over time; a
turn is called the same in every run. What breaks the gate is a failure, a turn that did not end
and must have is an error, what the recording does not hold is skipped: it was not tested. What
changed without breaking the gate passes and says so in the case's output.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO
from xml.sax.saxutils import escape, quoteattr

from streams.masking import mask_text
from streams.replay.comparison import TurnComparison
from streams.replay.summary import Summary
from streams.replay.words import changed_in_words, leading_in_words

LONGEST: Final = 4000
"""Characters of a text that go into the file."""

#: All that XML 1.0 cannot hold, written as itself or in any other way.
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Counts at the head are known at the end: room for them is kept.
_ROOM: Final = 160


def readable(text: str) -> str:
    """Return a text that an XML file can hold: what it cannot is replaced by a mark."""
    return _NOT_XML.sub("\ufffd", text if len(text) <= LONGEST else text[:LONGEST] + " …")


class JUnit:
    """Writes the file turn by turn; it is whole when it is closed, and well-formed for any text."""

    def __init__(self, path: Path) -> None:
        """Open the file; personal data does not go into it."""
        self._file: TextIO = path.open("w", encoding="utf-8", newline="\n")
        self._tests = self._failures = self._errors = self._skipped = 0
        self._seconds = 0.0
        self._file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        self._head = self._file.tell()
        self._file.write(" " * _ROOM + "\n")
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._closed:
            self._close()

    def add(self, turn: TurnComparison, broken: Sequence[str] = ()) -> None:
        """Add a turn with what the gate has against it (see `Gate.judge`)."""
        self._tests += 1
        seconds = (turn.replayed.work_ms or 0) / 1000
        self._seconds += seconds
        attempt = f" attempt {turn.attempt}" if turn.attempt > 1 else ""
        name = _attribute(f"{turn.session_id} turn {turn.turn} {turn.message_id}{attempt}")
        kind = _attribute(f"replay.{turn.intent or 'none'}")
        self._file.write(f'  <testcase classname={kind} name={name} time="{seconds:.3f}">\n')
        self._outcome(turn, broken)
        self._file.write("  </testcase>\n")

    def _outcome(self, turn: TurnComparison, broken: Sequence[str]) -> None:
        detail = mask_text("\n".join([leading_in_words(turn), *changed_in_words(turn)]).strip())
        if broken:
            tag = "error" if turn.verdict == "failed" else "failure"
            self._errors += tag == "error"
            self._failures += tag == "failure"
            self._element(tag, detail, message="; ".join(broken), type=turn.verdict)
        elif turn.verdict == "not recorded":
            self._skipped += 1
            self._element("skipped", "", message=turn.reason)
        elif turn.changed:
            self._element("system-out", f"{turn.verdict}\n{turn.reason}\n{detail}".strip())

    def close(self, summary: Summary, broken: Sequence[str] = ()) -> None:
        """Add what the gate has against the whole (see `Gate.judge_all`), and end the file."""
        if broken:
            self._tests += 1
            self._failures += 1
            self._file.write('  <testcase classname="replay" name="the whole" time="0.000">\n')
            bad = "\n".join(f"{one.where}: {one.reason}" for one in summary.first_bad_lines)
            self._element("failure", bad, message="; ".join(broken), type="replay")
            self._file.write("  </testcase>\n")
        self._close()

    def _close(self) -> None:
        self._closed = True
        self._file.write("</testsuite>\n")
        head = (
            f'<testsuite name="replay" tests="{self._tests}" failures="{self._failures}"'
            f' errors="{self._errors}" skipped="{self._skipped}" time="{self._seconds:.3f}">'
        )
        self._file.seek(self._head)
        self._file.write(head.ljust(_ROOM))
        self._file.close()

    def _element(self, tag: str, text: str, **attributes: str) -> None:
        told = "".join(f" {name}={_attribute(value)}" for name, value in attributes.items())
        self._file.write(f"    <{tag}{told}>{escape(readable(text))}</{tag}>\n")


def _attribute(text: str) -> str:
    return quoteattr(mask_text(readable(text)))
