"""All benchmarks, or those that are named: `python -m tests.bench [chains] [options]`.

To see where the time of one contestant goes:

    python -m tests.bench chains --only bridge --quick --profile /tmp/profiles
    python -m pstats /tmp/profiles/bridge-1.prof
"""

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from tests.bench import chains, report


def run_chains(options: argparse.Namespace) -> None:
    """Compare the chains."""
    wanted = options.only or [contestant.name for contestant in chains.CONTESTANTS]
    contestants = [one for one in chains.CONTESTANTS if one.name in wanted]
    length = chains.QUICK if options.quick else chains.LONG
    if options.rounds:
        length = replace(length, rounds=options.rounds)
    if options.profile is not None:
        options.profile.mkdir(parents=True, exist_ok=True)
    print(f"chains: {length.rounds} rounds")
    visits, refused = chains.measure(contestants, length, options.profile)
    says = {one.name: one.says for one in contestants}
    found = report.chains_report(visits, refused, says)
    report.show_chains(found)
    if options.keep:
        print(report.write("chains", options.command, found))


STEPS = {"chains": run_chains}


def main() -> None:
    """Run what the command line asks for."""
    names = [contestant.name for contestant in chains.CONTESTANTS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("steps", nargs="*", metavar="step", help=f"of {', '.join(STEPS)}; all")
    parser.add_argument("--quick", action="store_true", help="a short look, written nowhere")
    parser.add_argument("--rounds", type=int, help="visits to each contestant")
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
        STEPS[name](options)


if __name__ == "__main__":
    main()
