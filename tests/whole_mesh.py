"""The whole system as its users run it: `python app.py run`, in processes, on free ports."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mocks.laptop import addresses
from mocks.servers import free_port
from streams.settings import Settings
from tests.waiting import block_until

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90.0
PORTS = ("web", "worker", "customers", "orders", "tracking", "llm")


@dataclass
class WholeMesh:
    """A running system: where it is and which processes it has."""

    process: subprocess.Popen[str]
    data_dir: Path
    ports: dict[str, int]
    environment: dict[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"http://127.0.0.1:{self.ports['web']}"

    def settings(self) -> Settings:
        """Settings as the parts of this mesh have them."""
        running = addresses(self.data_dir)
        ports = {f"{name}_port": port for name, port in self.ports.items()}
        return Settings.model_validate(
            {
                "data_dir": self.data_dir,
                "broker_url": running["nats"],
                "redis_url": running["redis"],
                **ports,
            }
        )

    def part(self, name: str) -> psutil.Process:
        """Return the process of a part (`worker`, `web`, `mocks`) or server (`nats-server`)."""
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
                if child.name() == name or child.cmdline()[-1:] == [name]:
                    return child
        raise LookupError(f"no process {name} runs")

    def log(self, name: str) -> str:
        """Return what a part has printed."""
        return "".join(
            file.read_text(errors="replace")
            for file in (self.data_dir / "logs").glob(f"{name}-*.log")
        )


@contextmanager
def whole_mesh(data_dir: Path, settings: Mapping[str, str] | None = None) -> Iterator[WholeMesh]:
    """Run the whole system, yield it once it is ready, stop it as Ctrl-C does."""
    ports = {name: free_port() for name in PORTS}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MESH_")},
        **{f"MESH_{name.upper()}_PORT": str(port) for name, port in ports.items()},
        "MESH_DATA_DIR": str(data_dir),
        **(settings or {}),
    }
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=data_dir.parent,
    )
    mesh = WholeMesh(process, data_dir, ports, environment)
    try:
        wait_ready(mesh)
        yield mesh
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


def wait_ready(mesh: WholeMesh) -> None:
    """Return once the mesh says that it is ready; AssertionError with its output otherwise."""

    def ready() -> bool:
        if mesh.process.poll() is not None:
            output = mesh.process.stdout.read() if mesh.process.stdout else ""
            raise AssertionError(f"the mesh ended with {mesh.process.returncode}:\n{output}")
        try:
            with urllib.request.urlopen(f"{mesh.url}/health/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    block_until(ready, "the mesh being ready", START_SECONDS)


async def until_ready(mesh: WholeMesh) -> None:
    """Wait for readiness without blocking the loop."""
    await asyncio.to_thread(wait_ready, mesh)
