"""What an overlay describes, in processes: its own configuration files, logins and settings.

Only what a cluster gives is replaced: names of hosts, ports, and where volumes are mounted.
"""

import contextlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from mocks.laptop import Part, Task
from mocks.servers import NatsServer, RedisServer, ServerError, executable, free_port
from tests.k8s.manifests import Manifests, built, secrets


class ConfiguredNats(NatsServer):
    """A nats-server of the StatefulSet: nats.conf as it is, in the folder that the pod has."""

    def __init__(self, folder: Path, pod: str, files: dict[str, str]) -> None:
        super().__init__(folder)
        self.pod = pod
        self.http_port = free_port()
        self.route_port = free_port()
        self.routes: list[str] = []
        for path, content in files.items():
            self.write(path.removeprefix("/etc/nats/"), content)

    @property
    def etc(self) -> Path:
        """The folder that stands for /etc/nats."""
        return self.data_dir / "etc"

    def write(self, path: str, content: str) -> None:
        file = self.etc / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def command(self) -> list[str]:
        options = [
            *("--config", "nats.conf", "--port", str(self.port), "--addr", "127.0.0.1"),
            *("--http_port", str(self.http_port)),
        ]
        if self.routes:
            options += ["--cluster", f"nats://127.0.0.1:{self.route_port}"]
            options += ["--routes", ",".join(self.routes)]
        run = shlex.join([executable("nats-server"), *options])
        store = shlex.quote(str(self.data_dir / "data"))
        variables = f"POD_NAME={self.pod} MAX_FILE_STORE=1GB STORE_DIR={store}"
        return ["sh", "-c", f"cd {shlex.quote(str(self.etc))} && export {variables} && exec {run}"]

    def config(self) -> str:
        return ""

    def ready(self) -> bool:
        """Say whether it is what the pod's startup probe waits for."""
        try:
            with urlopen(f"http://127.0.0.1:{self.http_port}/healthz", timeout=2) as answer:
                return bool(json.load(answer)["status"] == "ok")
        except OSError:
            return False


class ConfiguredRedis(RedisServer):
    """The redis-server of the Deployment: redis.conf with the password that it includes."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        super().__init__(folder)
        secret = self.data_dir / "auth.conf"
        self.data_dir.mkdir(parents=True, exist_ok=True)
        secret.write_text(files["/etc/redis/secret/auth.conf"])
        conf = files["/etc/redis/redis.conf"].replace("/etc/redis/secret/auth.conf", str(secret))
        (self.data_dir / "redis.conf").write_text(conf)

    def command(self) -> list[str]:
        program = super().command()[0]
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.data_dir)]
        return [program, str(self.data_dir / "redis.conf"), *options]


class Topology:
    """Servers and parts of one overlay, each of which can be stopped and started by itself."""

    def __init__(self, overlay: str, folder: Path) -> None:
        self.manifests: Manifests = built(overlay)
        self.overlay = overlay
        self.folder = folder
        nats = self.manifests.container("nats")
        pods = [f"mesh-nats-{n}" for n in range(nats.workload["spec"]["replicas"])]
        files = self.manifests.files(nats)
        self.nats = [ConfiguredNats(folder / pod, pod, files) for pod in pods]
        if len(pods) > 1:
            for server in self.nats:
                server.routes = [f"nats-route://localhost:{one.route_port}" for one in self.nats]
        self.redis = ConfiguredRedis(
            folder / "redis", self.manifests.files(self.manifests.container("redis"))
        )
        self.mocks = self._mocks()

    def local(self, text: str) -> str:
        """Return an address as it is on this machine."""
        for server in self.nats:
            text = text.replace(f"{server.pod}.mesh-nats:4222", f"localhost:{server.port}")
        text = text.replace("mesh-redis:6379", f"127.0.0.1:{self.redis.port}")
        return text.replace("/etc/mesh/secrets", str(self.folder / "secrets"))

    def start(self) -> None:
        """Start the servers and the outside world."""
        for server in self.nats:
            server.launch()
        for server in self.nats:
            server.wait_ready(60)
        self.redis.start()
        self.mocks.launch()
        self.mocks.wait_ready(60)

    def part(self, name: str, number: int = 0, **settings: Any) -> Part:
        """Return a worker or a node of the pages with the settings that the manifests give it."""
        port = free_port()
        folder = self.folder / f"{name}-{number}"
        environment = self.environment(name) | {
            "MESH_DATA_DIR": str(folder),
            "MESH_WEB_HOST": "127.0.0.1",
            f"MESH_{name.upper()}_PORT": str(port),
            **{f"MESH_{key.upper()}": str(value) for key, value in settings.items()},
        }
        probe = self.manifests.container(name).spec["readinessProbe"]["httpGet"]["path"]
        task = Task(name, (f"http://127.0.0.1:{port}{probe}",))
        part = Part(task, folder, environment)
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        return part

    def environment(self, part: str) -> dict[str, str]:
        """Return a part's variables; its secrets lie in files, as in the cluster."""
        files = self.manifests.files(self.manifests.container(part))
        variables = {}
        for name, value in self.manifests.settings(part).items():
            variables[name] = value
            if name.endswith("_FILE"):
                file = self.folder / "secrets" / part / Path(value).name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self.local(files[value]))
                variables[name] = str(file)
        authority = self.folder / "secrets" / "nats-ca.crt"
        authority.write_text(files["/etc/mesh/secrets/nats-ca.crt"])
        ports = self.outside_ports
        return variables | {
            **{
                f"MESH_{name.upper()}_URL": f"http://127.0.0.1:{ports[name]}"
                for name in ("customers", "orders", "tracking")
            },
            "MESH_LLM_API_BASE": f"http://127.0.0.1:{ports['llm']}/v1",
            "MESH_LLM_MODEL": "hosted_vllm/mesh-mock",
        }

    def login(self, user: str, password: str) -> str:
        """Return a broker URL for one of the users in nats.conf."""
        (conf,) = (
            kept["passwords.conf"]
            for name, kept in secrets(self.overlay).items()
            if name == "mesh-nats"
        )
        values = dict(line.split(": ", 1) for line in conf.splitlines() if line)
        word = values[password].strip('"')
        first, *others = (f"localhost:{server.port}" for server in self.nats)
        servers = ";".join([f"nats://{user}:{word}@{first}", *(f"nats://{one}" for one in others)])
        return f"{servers}?tls_ca={self.folder / 'secrets' / 'nats-ca.crt'}&prefix=mesh"

    def _mocks(self) -> Part:
        self.outside_ports = {
            name: free_port() for name in ("customers", "orders", "tracking", "llm")
        }
        folder = self.folder / "mocks"
        environment = {
            "MESH_DATA_DIR": str(folder),
            "MESH_MOCK_HOST": "127.0.0.1",
            # The worker has a key for the model, and sends it.
            "MESH_LLM_API_KEY": "key-of-the-model",
            **{f"MESH_{name.upper()}_PORT": str(n) for name, n in self.outside_ports.items()},
        }
        health = tuple(f"http://127.0.0.1:{port}/health" for port in self.outside_ports.values())
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        return Part(Task("mocks", health), folder, environment)

    def stop(self) -> None:
        """End the servers."""
        self.mocks.stop()
        self.redis.stop()
        for server in self.nats:
            server.stop()


@contextlib.contextmanager
def running(overlay: str, folder: Path) -> Iterator[Topology]:
    """Run an overlay's servers and the mocks; parts are the caller's to start and stop."""
    topology = Topology(overlay, folder)
    try:
        topology.start()
        yield topology
    finally:
        topology.stop()


def log(part: Part) -> str:
    """Return what a part has printed."""
    try:
        return part.log.read_text(errors="replace")
    except FileNotFoundError:
        raise ServerError(f"{part.name} has no log") from None
