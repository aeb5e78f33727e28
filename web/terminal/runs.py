"""`runs`: the replays there were; each, or two beside each other."""

from collections.abc import Callable

import click

from streams.errors import MeshError
from streams.replay.comparison import compare
from streams.replay.summary import Summary
from streams.settings import Settings
from tables.runs import Run, Runs, Wanted, key_of
from web.terminal.session import emit
from web.terminal.text import number, plain, size, table
from web.terminal.verdicts import in_words, spreads, totals

Load = Callable[[], Settings]


@click.group()
def runs() -> None:
    """Look at the replays there were."""


def _open(load_settings: Load, name: str) -> Run:
    """Return a run; `last` is the newest."""
    kept = Runs(load_settings().data_dir)
    try:
        return kept.open(kept.newest() if name == "last" else name)
    except MeshError as error:
        raise click.ClickException(str(error)) from None


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
            plain(one.about.source),
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
    opened = _open(load_settings, run)
    try:
        summary = opened.summary()
        if not as_json:
            click.echo(totals(summary))
        for row in opened.every_turn(Wanted(changed=not everything)):
            if as_json:
                emit({"turn": row.comparison.model_dump(mode="json")})
            else:
                click.echo(f"\n{in_words(row.comparison)}")
        if as_json:
            emit({"run": opened.name, "summary": summary.model_dump(mode="json")})
        else:
            for line in spreads(opened):
                click.echo(line)
    except MeshError as error:
        raise click.ClickException(str(error)) from None


@runs.command("compare")
@click.argument("earlier")
@click.argument("later")
@click.option(
    "--json", "as_json", is_flag=True, help="Changed turns as JSON, then totals."
)
@click.pass_obj
def compare_runs(load_settings: Load, earlier: str, later: str, as_json: bool) -> None:
    """Compare the turns of LATER with what became of the same ones in EARLIER."""
    before, after = _open(load_settings, earlier), _open(load_settings, later)
    summary = Summary()
    try:
        for result in after.results():
            attempt = result.comparison.attempt
            found = before.find(key_of(result.recorded, attempt)) or before.find(
                key_of(result.recorded)
            )
            known = found.replayed if found is not None else None
            turn = compare(
                known or result.recorded.model_copy(update={"trace": []}),
                result.replayed,
                attempt=attempt,
                failure=result.comparison.reason if result.replayed is None else "",
            )
            summary.add(turn)
            if turn.changed and as_json:
                emit({"turn": turn.model_dump(mode="json")})
            elif turn.changed:
                click.echo(f"{in_words(turn)}\n")
    except MeshError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        emit({"runs": [before.name, after.name], "summary": summary.model_dump(mode="json")})
    else:
        click.echo(totals(summary))


@runs.command()
@click.argument("run")
@click.pass_obj
def delete(load_settings: Load, run: str) -> None:
    """Delete RUN."""
    try:
        Runs(load_settings().data_dir).delete(run)
    except MeshError as error:
        raise click.ClickException(str(error)) from None
