"""`replay`: recorded conversations against today's code, as a gate for CI or to look at."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from pydantic import ValidationError

from streams.bridge.errors import BridgeError
from streams.errors import MeshError
from streams.replay.comparison import TurnComparison
from streams.replay.gate import Gate
from streams.replay.junit import JUnit
from streams.replay.markdown import Shown
from streams.replay.markdown import markdown as in_markdown
from streams.replay.request import ACTORS, ReplayRequest
from streams.replay.source import SourceChanged
from streams.settings import Settings
from tables.baseline import accept
from tables.results import Wanted
from tables.run import Run
from tables.run_file import NoSuchRun
from tables.runs import Runs
from web.terminal.bar import Bar
from web.terminal.playing import Launch, Performance, Playing
from web.terminal.selecting import selecting
from web.terminal.session import INTERRUPTED, emit, say
from web.terminal.text import number, plain
from web.terminal.usage import usage_error
from web.terminal.verdicts import in_words, spreads, totals

_FILE: Final = click.Path(dir_okay=False, writable=True, path_type=Path)

#: Turns that are told on the terminal; all of them are in the run.
TOLD: Final = 10


def _in_a_folder(
    _context: click.Context, _parameter: click.Parameter, path: Path | None
) -> Path | None:
    """Return a file's path if it can be made there: better said now than after the replay."""
    if path is None or path.exists():
        return path
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise click.BadParameter(f"nothing can be written to the folder {str(path.parent)!r}")
    return path


def replay_command(launch: Launch) -> click.Command:
    """Return the command; `launch` runs the mesh that replays."""

    @click.command("replay")
    @click.argument("source", required=False)
    @selecting
    @click.option(
        "--mode",
        type=click.Choice(["recorded", "live"]),
        default="recorded",
        show_default=True,
        help="Who answers the actors' questions: the recording, or the outside.",
    )
    @click.option(
        "--live",
        multiple=True,
        type=click.Choice(ACTORS),
        metavar="ACTOR",
        help="This actor asks the outside all the same; may be repeated.",
    )
    @click.option(
        "--shop",
        type=click.Choice(["mock", "configured"]),
        default="mock",
        show_default=True,
        help="Which shop they ask then. The configured one does what it is told.",
    )
    @click.option("--workers", type=click.IntRange(1, 16), default=1, show_default=True)
    @click.option(
        "--speed",
        type=click.FloatRange(min=0),
        default=0,
        help="1: as recorded, 2: twice as fast; else as fast as it goes.",
    )
    @click.option("--repeat", type=click.IntRange(1, 100), default=1, help="Each turn so often.")
    @click.option("--against", metavar="RUN", help="Compare with an earlier replay, or `last`.")
    @click.option("--resume", metavar="RUN", help="Go on with one that was interrupted, or `last`.")
    @click.option("--fail-on", "gate", default="", help="Exit status 1 on: route,reply<0.8,…")
    @click.option("--json", "as_json", is_flag=True, help="Changed turns as JSON, then totals.")
    @click.option("--junit", type=_FILE, callback=_in_a_folder, help="Write JUnit XML.")
    @click.option("--markdown", type=_FILE, callback=_in_a_folder, help="Write a summary.")
    @click.option(
        "--accept",
        "accepted",
        is_flag=False,
        flag_value="",
        metavar="[FILE]",
        help="Make the outcome the baseline, in SOURCE or FILE. Without SOURCE: the last run's.",
    )
    @click.option("--requested", hidden=True, help="A page asks: as JSON on stdin, for this run.")
    @click.pass_obj
    def replay(
        load_settings: Callable[[], Settings],
        /,
        source: str | None,
        gate: str,
        resume: str | None,
        requested: str | None,
        accepted: str | None,
        as_json: bool,
        junit: Path | None,
        markdown: Path | None,
        **asked: Any,
    ) -> None:
        """Replay SOURCE with today's code and tell what comes out otherwise.

        SOURCE is a recording, a file of plain conversations, or `journal`: what the running mesh
        has worked on.
        """
        settings = load_settings()
        runs = Runs(settings.data_dir)
        try:
            conditions = Gate(gate)
            if source is None and resume is None and requested is None:
                if accepted is None:
                    raise click.UsageError("Name a SOURCE: a file, or `journal`.")
                _accept(runs.open(runs.newest()), accepted)
                return
            if resume is not None:
                _refuse_anew(source, asked)
                name = runs.named(resume)
                known = runs.open(name).about()
                request = known.request or _impossible(name)
                # One that has ended is judged once more, and may become the baseline.
                ended = known.state == "ended"
                resumed = runs.open(name) if ended else runs.resume(name)
            else:
                resumed, ended = None, False
                request = (
                    _request(runs, source or "", asked)
                    if requested is None
                    else ReplayRequest.model_validate_json(sys.stdin.read())
                )
            changed = _Changed(as_json)
            if resumed is not None and ended:
                run = resumed
            else:
                run = _perform(settings, launch, changed, request, resumed, requested or "")
            try:
                judgement = _Judgement(run, conditions, junit, markdown)
            except OSError as error:
                reason = error.strerror or error
                raise click.ClickException(
                    f"{error.filename or 'A file'} cannot be written: {reason}"
                ) from None
            _tell(run, changed, judgement, conditions, as_json)
            if accepted is not None:
                _accept(run, accepted)
        except (MeshError, BridgeError) as error:
            raise click.ClickException(str(error)) from None
        sys.exit(0 if judgement.passed else 1)

    return replay


def _refuse_anew(source: str | None, asked: dict[str, Any]) -> None:
    """UsageError if something is asked for anew of a replay that goes on as it was asked for."""
    context = click.get_current_context()
    anew = [
        f"--{name.replace('_', '-')}"
        for name in asked
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if source is not None or anew:
        wrong = ", ".join([*(["SOURCE"] if source is not None else []), *anew])
        raise click.UsageError(f"--resume goes on as it was asked for then: leave out {wrong}.")


def _request(runs: Runs, source: str, asked: dict[str, Any]) -> ReplayRequest:
    """Return what the options ask for; UsageError if that makes no sense."""
    if asked["against"] is not None:
        asked["against"] = runs.named(asked["against"])
    try:
        return ReplayRequest(source=source, **{**asked, "live": list(asked["live"])})
    except ValidationError as error:
        raise usage_error(error) from None


def _impossible(run: str) -> ReplayRequest:
    raise NoSuchRun(f"Replay {run} does not say what was asked for: it cannot go on.")


class _Changed:
    """The turns that are told on the terminal, and how many more there are."""

    def __init__(self, as_json: bool) -> None:
        self.first: list[TurnComparison] = []
        self.count = 0
        self._as_json = as_json

    def hear(self, turn: TurnComparison) -> None:
        """Take in a turn that ended."""
        if not turn.changed:
            return
        self.count += 1
        if self._as_json:
            emit({"turn": turn.model_dump(mode="json")})
        elif len(self.first) < TOLD:
            self.first.append(turn)


def _perform(
    settings: Settings,
    launch: Launch,
    changed: _Changed,
    request: ReplayRequest,
    resumed: Run | None,
    name: str,
) -> Run:
    """Replay, and say how far it is. Ctrl-C ends the program, and says how to go on."""
    bar = Bar("turns")
    begun: list[Run] = []

    def show(playing: Playing) -> None:
        begun[:] = [playing.run]
        remark = f"{number(changed.count)} not the same" if changed.count else ""
        bar.show(playing.turns.progress, playing.played + playing.skipped, remark)

    def ended(how: str) -> str:
        go_on = f"Go on with: python app.py replay --resume {begun[0].name}" if begun else ""
        return f"{how.strip()}\n{go_on}".strip()

    async def work() -> Run:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        performance = Performance(settings, launch, changed.hear, show)
        return await performance.give(request, resumed, name=name)

    say("Starting a mesh of today's code …")
    try:
        run = asyncio.run(work())
    except SourceChanged:
        raise
    except (MeshError, BridgeError) as error:
        raise MeshError(ended(str(error))) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        bar.clear()
        say(ended("Interrupted."))
        sys.exit(INTERRUPTED)
    finally:
        bar.clear()
    return run


class _Judgement:
    """What the gate has against a run, looked through once, and the files written with it."""

    def __init__(self, run: Run, gate: Gate, junit: Path | None, markdown: Path | None) -> None:
        self.summary = run.summary()
        self.turns = 0
        """Turns that break the gate."""
        self.reasons: Counter[str] = Counter()
        """What they break it with, and how often."""
        self.whole = gate.judge_all(self.summary)
        if not (gate.conditions or junit or markdown):
            return
        shown = Shown()
        with ExitStack() as stack:
            cases = stack.enter_context(JUnit(junit)) if junit else None
            for row in run.every_turn(Wanted(changed=False)):
                broken = gate.judge(row.comparison)
                self.turns += bool(broken)
                self.reasons.update(broken)
                shown.add(row.comparison, broken, row.said)
                if cases is not None:
                    cases.add(row.comparison, broken)
            if cases is not None:
                cases.close(self.summary, self.whole)
        if markdown is not None:
            markdown.write_text(
                in_markdown(self.summary, shown, gate, self.whole), encoding="utf-8"
            )

    @property
    def passed(self) -> bool:
        """Whether nothing is against the run."""
        return not self.turns and not self.whole

    def told(self) -> list[str]:
        """Return what is against it in words."""
        return [
            *self.whole,
            *(f"{reason} ({times} turns)" for reason, times in self.reasons.most_common(TOLD)),
        ]


def _tell(run: Run, changed: _Changed, judgement: _Judgement, gate: Gate, as_json: bool) -> None:
    """Tell what came out: the totals, the first turns that are not the same, where the rest is."""
    summary = judgement.summary
    if as_json:
        emit(
            {
                "run": run.name,
                "summary": summary.model_dump(mode="json"),
                "gate": {
                    "conditions": str(gate),
                    "passed": judgement.passed,
                    "turns": judgement.turns,
                    "reasons": judgement.told(),
                },
            }
        )
        return
    click.echo(totals(summary))
    for turn in changed.first:
        click.echo(f"\n{in_words(turn)}")
    if changed.count > len(changed.first):
        click.echo(f"\n… and {number(changed.count - len(changed.first))} more.")
    for line in spreads(run):
        click.echo(line)
    for bad in summary.first_bad_lines:
        click.echo(f"{bad.where}: {plain(bad.reason)}", err=True)
    if gate.conditions:
        verdict = "Passed" if judgement.passed else "Not passed"
        click.echo(f"\n{verdict}: {gate}")
        for reason in judgement.told():
            click.echo(f"  {plain(reason)}")
    if summary.verdicts["not recorded"] and run.about().mode != "live":
        say("\nWhat was not recorded nobody can answer: with --live ACTOR that actor asks itself.")
    say(f"\nAll of it: /replay/{run.name} of the pages, or python app.py runs show {run.name}")


def _accept(run: Run, file: str) -> None:
    """Make a run the baseline, and say where it is."""
    path, turns = asyncio.run(accept(run, Path(file) if file else None))
    say(f"{path} is the baseline now: {number(turns)} turns as replay {run.name} left them.")
