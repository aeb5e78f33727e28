"""All benchmarks, or those that are named: `python -m tests.bench [step …] [options]`.

What is measured is printed, and written to tests/bench/results with a plot, unless only a part
was asked for. To see where the time of one contestant of the chain comparison goes:

    python -m tests.bench chains --only bridge --quick --profile /tmp/profiles
    python -m pstats /tmp/profiles/bridge-1.prof
"""

import argparse
import asyncio
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from tests.bench import chains, mesh, rebalance, recovery, replay, report, watching


def run_chains(options: argparse.Namespace) -> None:
    """Compare the chains."""
    wanted = options.only or [one.name for one in chains.CONTESTANTS]
    contestants = [one for one in chains.CONTESTANTS if one.name in wanted]
    length = chains.QUICK if options.quick else chains.LONG
    if options.rounds:
        length = replace(length, rounds=options.rounds)
    if options.profile is not None:
        options.profile.mkdir(parents=True, exist_ok=True)
    comparison = chains.measure(contestants, length, options.profile)
    found = report.of_chains(comparison, {one.name: one.says for one in contestants})
    report.show_chains(found)
    if options.keep:
        report.write("chains", options.command, found)
    if comparison.failed:
        sys.exit(f"failed: {', '.join(comparison.failed)}")


def run_recovery(options: argparse.Namespace) -> None:
    """Measure how fast tables recover."""
    records, rounds = recovery.QUICK if options.quick else recovery.LONG
    rates = recovery.measure(records, options.rounds or rounds)
    found = report.of_recovery(rates, records)
    report.show_recovery(found)
    if options.keep:
        report.write("recovery", options.command, found)


def run_rebalance(options: argparse.Namespace) -> None:
    """Measure how long a rebalance takes."""
    times = rebalance.measure(options.rounds or (1 if options.quick else rebalance.ROUNDS))
    found = report.of_rebalance(times)
    report.show_rebalance(found)
    if options.keep:
        report.write("rebalance", options.command, found)


def run_mesh(options: argparse.Namespace) -> None:
    """Measure the whole mesh."""
    turns = mesh.QUICK_TURNS if options.quick else mesh.TURNS
    found = asyncio.run(mesh.measure_with_workers(turns))
    if options.keep:
        report.write("mesh", options.command, found)


def run_watching(options: argparse.Namespace) -> None:
    """Measure what it costs the mesh to be looked at."""
    rounds, seconds = watching.QUICK if options.quick else watching.LONG
    measured = asyncio.run(watching.measure(options.rounds or rounds, seconds))
    found = report.of_watching(measured)
    report.show_watching(found)
    if options.keep:
        report.write("watching", options.command, found)


def run_replay(options: argparse.Namespace) -> None:
    """Measure how fast recorded turns are replayed."""
    rounds, turns = replay.QUICK if options.quick else replay.LONG
    measured = asyncio.run(replay.measure(options.rounds or rounds, turns))
    found = report.of_replay(measured)
    report.show_replay(found)
    if options.keep:
        report.write("replay", options.command, found)


STEPS = {
    "chains": run_chains,
    "recovery": run_recovery,
    "rebalance": run_rebalance,
    "mesh": run_mesh,
    "watching": run_watching,
    "replay": run_replay,
}


def main() -> None:
    """Run what the command line asks for."""
    names = [one.name for one in chains.CONTESTANTS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("steps", nargs="*", metavar="step", help=f"{', '.join(STEPS)}; or all")
    parser.add_argument("--quick", action="store_true", help="a short look, written nowhere")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often to measure everything")
    parser.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"a contestant of the chain comparison, written nowhere: {', '.join(names)}",
    )
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="profile the workers into")
    options = parser.parse_args()
    unknown = set(options.steps) - set(STEPS)
    if unknown:
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    options.keep = not (options.quick or options.only or options.profile)
    options.command = shlex.join(["python", "-m", "tests.bench", *sys.argv[1:]])
    for name in options.steps or STEPS:
        print(f"\n== {name}", flush=True)
        STEPS[name](options)
    if options.keep:
        from tests.bench import plot  # matplotlib is in the benchmark's own environment alone

        print(f"drawn: {plot.draw()}")


if __name__ == "__main__":
    main()
