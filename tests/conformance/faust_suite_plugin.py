"""A pytest plugin for Faust's own test run: it puts the bridge under it, and notes what came out.

Loaded with `-p` from this folder, on its own, before pytest puts the checkout on the path: so the
tests meet the installed Faust, compiled parts included, which is the one that the bridge runs on.
`BRIDGE_CONSUMER_AS_BASE` makes the bridge's consumer the base of the tests' own consumers.
`BRIDGE_OUTCOMES` is the file that takes what came out.
"""

import json
import os
from pathlib import Path
from typing import Any

import faust.transport.consumer
import pytest

import streams.bridge.consumer

if os.environ.get("BRIDGE_CONSUMER_AS_BASE"):
    faust.transport.consumer.Consumer = streams.bridge.consumer.Consumer  # type: ignore[misc,assignment]

_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: Any) -> None:
    """Note a test's outcome; a failure before or after it counts too."""
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome


def pytest_collectreport(report: Any) -> None:
    """Note a file that could not be collected as a failure."""
    if report.failed:
        _outcomes[report.nodeid] = "failed"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down all outcomes."""
    Path(os.environ["BRIDGE_OUTCOMES"]).write_text(json.dumps(_outcomes))
