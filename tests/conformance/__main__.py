"""Run Faust's own tests against the bridge: `make conformance`.

They come from a checkout of Faust beside the project, and run in an environment that has Faust's
test tools and this project; nothing is downloaded and nothing of Faust is copied in here.
See README.md in this folder.
"""

import argparse
import filecmp
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from mocks.servers import NatsServer

from . import stress
from .expected import SUITES, Suite

HERE: Final = Path(__file__).resolve().parent
PROJECT: Final = HERE.parents[1]
SUITE_SECONDS: Final = 900.0
GUARANTEES: Final = ("at_least_once", "exactly_once")


def main() -> int:
    """Run everything asked for; return 0 if all of it came out as expected, or was skipped."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--faust", type=Path, default=PROJECT.parent / "faust", help="checkout")
    parser.add_argument(
        "--python", type=Path, help="interpreter to run it with (default: CHECKOUT/.venv's)"
    )
    parser.add_argument(
        "--guarantee",
        choices=GUARANTEES,
        action="append",
        help="of the stress test (default: both)",
    )
    parser.add_argument("--store", default="rocksdb://", help="of the stress test's table")
    parser.add_argument("--only", choices=("suites", "stress"), help="run one part")
    arguments = parser.parse_args()
    checkout: Path = arguments.faust.resolve()
    python: Path = (arguments.python or checkout / ".venv" / "bin" / "python").absolute()
    for needed in (checkout / "tests" / "stress", python):
        if not needed.exists():
            print(f"skipped: there is no {needed}; tests/conformance/README.md says how to make it")
            return 0
    check_environment(checkout, python)
    complaints: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="conformance-"))
    if arguments.only != "stress":
        for suite in SUITES:
            complaints += run_suite(suite, checkout, python, folder)
    if arguments.only != "suites":
        for guarantee in arguments.guarantee or GUARANTEES:
            complaints += run_stress(checkout, python, folder, guarantee, arguments.store)
    print("\n".join(complaints) if complaints else "everything as expected")
    print(f"logs: {folder}")
    return 1 if complaints else 0


def check_environment(checkout: Path, python: Path) -> None:
    """See that the environment has our bridge, and the Faust whose tests these are."""
    script = "import faust, streams.bridge; print(faust.__file__); print(streams.bridge.__file__)"
    output = subprocess.run(
        [python, "-P", "-c", script], check=True, capture_output=True, text=True, cwd=checkout
    ).stdout
    installed, bridge = (Path(line).parent for line in output.split())
    if PROJECT not in bridge.parents:
        sys.exit(f"{python} has the bridge of {bridge}, not ours: pip install --no-deps -e .")
    theirs = checkout / "faust"
    names = [str(file.relative_to(theirs)) for file in theirs.rglob("*.py")]
    _, *differing = filecmp.cmpfiles(theirs, installed, names, shallow=False)
    if count := sum(map(len, differing)):
        print(f"warning: {count} files of the checkout are not as in the Faust installed")


def run_suite(suite: Suite, checkout: Path, python: Path, folder: Path) -> list[str]:
    """Run a part of Faust's tests; return what did not come out as expected."""
    name = suite.name.replace(" ", "-")
    outcomes_file, log = folder / f"{name}.json", folder / f"{name}.log"
    with NatsServer(folder / f"nats-{name}") as server, log.open("wb") as out:
        environment = {
            "BROKER_URL": server.url,
            "FAUST_REQUIRE_CYTHON": "1",
            "PYTHONPATH": str(HERE),
            "PYTHONSAFEPATH": "1",
            "BRIDGE_OUTCOMES": str(outcomes_file),
        }
        subprocess.run(
            [
                *(python, "-m", "pytest", "-p", HERE.joinpath("faust_suite_plugin.py").stem),
                *("-q", "--no-cov", "-p", "no:cacheprovider", *suite.paths),
                *(f"--ignore={path}" for path in suite.ignored),
            ],
            env=os.environ | environment | dict(suite.environment),
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=checkout,
            timeout=SUITE_SECONDS,
        )
    if not outcomes_file.exists():
        return [f"{suite.name}: pytest did not run; see {log}"]
    outcomes: dict[str, str] = json.loads(outcomes_file.read_text())
    count = {key: list(outcomes.values()).count(key) for key in ("passed", "failed", "skipped")}
    print(f"{suite.name}: {count}")
    for test, outcome in sorted(outcomes.items()):
        if outcome == "failed" and (reason := suite.reason(test)):
            print(f"  {test.rpartition('::')[2]}: {reason}")
    return [f"{suite.name}: {complaint}" for complaint in suite.complaints(outcomes)]


def run_stress(checkout: Path, python: Path, folder: Path, guarantee: str, store: str) -> list[str]:
    """Run the table stress test; return what must not be."""
    name = f"table stress test, {guarantee}, {store}"
    try:
        verdict = stress.run(checkout, folder, guarantee, store, python)
    except stress.StressError as exc:
        return [f"{name}: {exc}"]
    print(f"{name}: {verdict}")
    return [f"{name}: {complaint}" for complaint in verdict.complaints(guarantee)]


if __name__ == "__main__":
    sys.exit(main())
