"""`runs`: the replays there were; each, or two beside each other."""

from collections.abc import Callable

import click

from streams.errors import MeshError
from streams.settings import Settings
from tables.results import Wanted
from tables.run import Run
from tables.run_comparison import begin, fill
from tables.runs import Runs
from web.terminal.session import emit
from web.terminal.text import number, plain, size, table
from web.terminal.verdicts import in_words, spreads, totals

Load = Callable[[], Settings]


@click.group()
def runs() -> None:
    """Look at the replays there were."""


@runs.command("list")
@click.option("--json", "as_json", is_flag=True, help="One run as JSON a line.")
@click.pass_obj
def list_runs(load_settings: Load, as_json: bool) -> None:
    """List all replays, the newest first."""
    listed = Runs(load_settings().data_dir).listed()
    if as_json:
        for one in listed:
            emit(one.model_dump(mode="json"))
        return
    rows = [
        (
            one.about.run,
            one.about.state,
            plain(one.about.source)[-40:],
            one.about.mode,
            number(one.summary.turns),
            number(one.summary.turns - one.summary.verdicts["same"]),
            size(one.size),
        )
        for one in listed
    ]
    heads = ("run", "state", "source", "mode", "turns", "not the same", "size")
    click.echo(table(heads, rows, right="456"))


@runs.command()
@click.argument("run")
@click.option("--all", "everything", is_flag=True, help="Also the turns that are the same.")
@click.option("--json", "as_json", is_flag=True, help="One turn as JSON a line, then the totals.")
@click.pass_obj
def show(load_settings: Load, run: str, everything: bool, as_json: bool) -> None:
    """Show the totals of RUN (or `last`) and the turns that are not the same."""
    kept = Runs(load_settings().data_dir)
    try:
        _show(kept.open(kept.named(run)), Wanted(changed=not everything), as_json)
    except MeshError as error:
        raise click.ClickException(str(error)) from None


def _show(run: Run, wanted: Wanted, as_json: bool) -> None:
    summary = run.summary()
    for row in run.every_turn(wanted):
        if as_json:
            emit({"turn": row.comparison.model_dump(mode="json")})
        else:
            click.echo(f"{in_words(row.comparison)}\n")
    if as_json:
        emit({"run": run.name, "summary": summary.model_dump(mode="json")})
        return
    for line in spreads(run):
        click.echo(line)
    click.echo(totals(summary))


@runs.command("compare")
@click.argument("earlier")
@click.argument("later")
@click.option("--json", "as_json", is_flag=True, help="Changed turns as JSON, then totals.")
@click.pass_obj
def compare_runs(load_settings: Load, earlier: str, later: str, as_json: bool) -> None:
    """Compare the turns of LATER with what became of them in EARLIER, and keep that as a run."""
    kept = Runs(load_settings().data_dir)
    try:
        with begin(kept, kept.named(earlier), kept.named(later)) as run:
            fill(run, kept)
        _show(run, Wanted(), as_json)
    except MeshError as error:
        raise click.ClickException(str(error)) from None


@runs.command()
@click.argument("run")
@click.pass_obj
def delete(load_settings: Load, run: str) -> None:
    """Delete RUN."""
    try:
        Runs(load_settings().data_dir).delete(run)
    except MeshError as error:
        raise click.ClickException(str(error)) from None
