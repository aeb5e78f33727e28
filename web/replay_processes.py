"""ReplayProcesses that pages begin: each a process of its own, as it takes a mesh of its own."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from streams.replay.request import ReplayRequest
from tables.runs import new_run_id

log = logging.getLogger(__name__)

STOP_SECONDS: Final = 20.0


class ReplayProcesses:
    """Starts `app.py replay`, and stops what is under way when this process ends."""

    def __init__(self, app: Path, data_dir: Path) -> None:
        self._app = app
        self._logs = data_dir / "logs"
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watching: set[asyncio.Task[None]] = set()

    async def start(self, request: ReplayRequest) -> str:
        """Begin a replay and return the name of its run, which is there a few seconds later."""
        run = new_run_id()
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log(run).open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(self._app),
                "replay",
                "--requested",
                run,
                stdin=asyncio.subprocess.PIPE,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C in the terminal is for us; we end it in good order
            )
        self._processes[run] = process
        watching = asyncio.create_task(self._watch(run, process), name=f"watch replay {run}")
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        if process.stdin is not None:
            process.stdin.write(request.model_dump_json().encode())
            process.stdin.close()
        return run

    def _log(self, run: str) -> Path:
        return self._logs / f"replay-{run}.log"

    async def _watch(self, run: str, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        self._processes.pop(run, None)
        # 1 is for what the gate found; a page asks for none.
        if status:
            log.error("replay %s ended with status %d; see its log", run, status)
        else:
            self._log(run).unlink(missing_ok=True)

    async def close(self) -> None:
        """Interrupt what is under way, and wait until nothing of it is left."""
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        if not self._watching:
            return
        _, late = await asyncio.wait(self._watching, timeout=STOP_SECONDS)
        if late:
            for process in self._processes.values():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await asyncio.wait(late)
