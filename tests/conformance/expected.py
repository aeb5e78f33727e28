"""What Faust's own tests are expected to say of the bridge, each failure with its reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Suite:
    """A part of Faust's tests, and how it shall come out."""

    name: str
    paths: tuple[str, ...]
    least: int
    """Tests that pass, at least."""
    ignored: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions that match whole test ids, and why those tests fail."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def reason(self, test: str) -> str | None:
        """Return why a test is expected to fail, None if it is not."""
        for pattern, reason in self.failures.items():
            if re.fullmatch(pattern, test):
                return reason
        return None

    def complaints(self, outcomes: Mapping[str, str]) -> list[str]:
        """Compare with what came out; return what is not as expected."""
        failed = {test for test, outcome in outcomes.items() if outcome == "failed"}
        passed = sum(outcome == "passed" for outcome in outcomes.values())
        found = [f"failed unexpectedly: {test}" for test in sorted(failed) if not self.reason(test)]
        found += [
            f"expected to fail, but nothing that matches did: {pattern}"
            for pattern in self.failures
            if not any(re.fullmatch(pattern, test) for test in failed)
        ]
        if passed < self.least:
            found.append(f"{passed} passed; {self.least} is the least")
        return found


_OTHER_BROKER: Final = "asks for the broker URL of its own settings; ours comes from BROKER_URL"
_OFFSETS: Final = (
    "works out commits by counting offsets; ours have gaps by design, so the bridge commits in "
    "order of delivery instead (tests/streams/bridge/test_delivered.py)"
)
_CONSUMER: Final = r"tests/unit/transport/test_consumer\.py::TestConsumer::"
_SETTINGS: Final = r"tests/functional/test_app\.py::Test_settings::"

SUITES: Final = (
    Suite(
        "unit and functional tests",
        ("tests/unit", "tests/functional"),
        least=2_340,
        ignored=("tests/unit/transport/drivers", "tests/functional/test_aiokafka.py"),
        failures={
            r"tests/unit/app/test_base\.py::TestAppConfiguration::"
            r"test_config_From_object\[.+\]": _OTHER_BROKER,
            _SETTINGS + "test_defaults": _OTHER_BROKER,
            _SETTINGS + "test_app_config": _OTHER_BROKER,
            _SETTINGS + "test_broker_as_URL": _OTHER_BROKER,
            _SETTINGS + "test_broker_with_no_scheme_set": _OTHER_BROKER,
            _SETTINGS + "test_compat_url": _OTHER_BROKER,
            _SETTINGS + "test_(store|cache|web)_as_URL": _OTHER_BROKER,
            _SETTINGS + "test_(datadir_as_Path|tabledir_is_relative_to_path)": _OTHER_BROKER,
        },
    ),
    Suite(
        "assignor, commands, autodiscovery, FastAPI",
        (
            "tests/meticulous",
            "tests/regression",
            "tests/integration/cli",
            "tests/integration/fastapi",
        ),
        least=18,
    ),
    Suite(
        "consumer tests, with the bridge's consumer as the base",
        ("tests/unit/transport/test_consumer.py",),
        least=104,
        failures={
            _CONSUMER + "test_filter_committable_offsets": _OFFSETS,
            _CONSUMER + r"test_new_offset\[.+\]": _OFFSETS,
            _CONSUMER + r"test_new_offset_with_gaps\[.+\]": _OFFSETS,
            _CONSUMER + "test__add_gap": _OFFSETS,
        },
        environment={"BRIDGE_CONSUMER_AS_BASE": "1"},
    ),
)
