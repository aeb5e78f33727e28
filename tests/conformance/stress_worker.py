"""A worker of Faust's table stress test, run as a script: `stress_worker.py CHECKOUT/tests`.

Prints how many records it has processed, twice a second.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any


def without_sentry() -> None:
    """Let the test's settings import its error reporter, which only a Sentry account would use."""
    for module, name in (
        ("raven", "Client"),
        ("raven.handlers.logging", "SentryHandler"),
        ("raven_aiohttp", "AioHttpTransport"),
    ):
        sys.modules[module] = ModuleType(module)
        setattr(sys.modules[module], name, object)


def load(tests: Path) -> Any:
    """Return the module of the test's app, which calls Faust's `tests` folder `t`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "t").symlink_to(tests.resolve(), target_is_directory=True)
        sys.path.insert(0, folder)
        return importlib.import_module("t.stress.tests.tables.app")


if __name__ == "__main__":
    without_sentry()
    test = load(Path(sys.argv[1]))

    @test.app.timer(0.5)  # type: ignore[untyped-decorator]
    async def progress() -> None:
        """Say how far we are."""
        print(f"processed {test.processed_total}", flush=True)

    sys.argv[1:] = ["worker", "--without-web", "-l", "info"]
    test.app.main()
