"""The whole system on one page: the settings, the Faust app with its rooms, and the commands."""

import asyncio
import contextlib
import gc
import json
import logging.config
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import click
import faust
from aiohttp import web
from faust.types import ServiceT
from mode import Service
from pydantic import ValidationError

from agents import (
    context_retriever,
    conversation,
    decision_router,
    escalation_router,
    execution_coordinator,
    guardrail_validator,
    intent_analyzer,
    response_aggregator,
    response_generator,
    sentiment_analyzer,
)
from agents.checkup import check_model
from agents.llm import Model, uses_mock
from agents.shop import Shop
from mocks import laptop, outside, scenarios
from mocks.laptop import Say
from mocks.servers import Server, ServerError, free_port
from streams import probes
from streams.errors import MeshError
from streams.gateway import Gateway
from streams.mailbox import Mesh
from streams.observability import logs, scrape
from streams.observability.tracing import Tracing
from streams.replay.namespace import new_prefix
from streams.replay.request import ReplayRequest
from streams.setting_files import UnreadableSetting
from streams.settings import Settings
from streams.topics import TopicDeclaration
from tables.cache import Cache
from tables.history import HistoryProjection
from tables.sessions import Sessions
from web import create_web
from web.replay_processes import ReplayProcesses
from web.terminal.audit import audit_command
from web.terminal.backup import backup_command, restore_command
from web.terminal.browse import browse, tail
from web.terminal.conversation import conversation as conversation_command
from web.terminal.dead_letters import deadletters
from web.terminal.doctor import create_doctor
from web.terminal.playing import ReplayMesh
from web.terminal.publish import publish_command
from web.terminal.record import record
from web.terminal.replay import replay_command
from web.terminal.runs import runs
from web.terminal.topics import topics

BANNER = """
  The mesh is up.
    Chat        {web}/
    Operators   {web}/streams    (token: {token})
    Health      {web}/health
    Worker      {worker}/    (Faust's own pages)
    Data, logs  {data}

  Try `python app.py scenarios` in another terminal. Ctrl-C stops everything.
"""

#: New objects after which a worker looks for cycles among the young ones.
COLLECT_AFTER = 20_000


class MeshApp(faust.App):
    """A Faust app whose outside connections are there from the first event to the last."""

    rooms: tuple[ServiceT, ...] = ()

    async def on_first_start(self) -> None:
        """Make the folder for tables with its parents; Faust makes the last one only."""
        self.conf.datadir.mkdir(parents=True, exist_ok=True)
        await super().on_first_start()

    def on_init_dependencies(self) -> Any:
        """Return Faust's own services behind ours: they start later and stop earlier."""
        own = () if self.client_only or self.producer_only else self.rooms
        return [*own, *super().on_init_dependencies()]


class Reporting(Service):
    """What a worker tells of itself: metrics to whoever has their token, spans to a collector."""

    def __init__(self, mesh: Mesh) -> None:
        super().__init__()
        self.mesh = mesh

    async def on_start(self) -> None:
        """Have all ready before the first event."""
        self.mesh.settings.metrics_bearer()  # in its file: Prometheus reads that before it asks
        self.mesh.tracing = await Tracing.open(self.mesh.settings, "worker")

    async def on_stop(self) -> None:
        """Send the last spans."""
        if self.mesh.tracing is not None:
            await self.mesh.tracing.close()


class Outside(Service):
    """The connections that all actors share: to the model, the shop and the cache."""

    def __init__(self, model: Model, shop: Shop, cache: Cache, *, load_early: bool) -> None:
        super().__init__()
        self.model, self.shop, self.cache, self.load_early = model, shop, cache, load_early

    async def on_start(self) -> None:
        """Open what has to be open before the first message."""
        if self.load_early:
            await self.model.start()
        await self.shop.start()

    async def on_stop(self) -> None:
        """Close everything, the last user being gone."""
        await self.cache.close()
        await self.shop.close()
        await self.model.close()


def create_app(settings: Settings) -> MeshApp:
    """Return the Faust app with every room wired in. Nothing starts or connects before it runs."""
    app = MeshApp(
        "mesh",
        broker=settings.faust_broker(),
        store=settings.store,
        datadir=settings.data_dir / "tables" / str(settings.worker_port),
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replicas,
        topic_disable_leader=True,
        broker_commit_interval=1.0,
        stream_wait_empty=True,  # a graceful stop finishes the turns in hand
        web_host=settings.web_host,
        web_port=settings.worker_port,
        logging_config=logs.configuration(settings, "worker"),
        web_tables_enabled=False,  # whoever reaches the port could read conversations there
    )
    mesh = Mesh(app, settings)
    sessions = Sessions(app, settings)
    model, shop, cache = Model(settings), Shop(settings), Cache(settings.redis_url)
    app.rooms = (
        Reporting(mesh),
        TopicDeclaration(settings),
        Outside(model, shop, cache, load_early=not settings.replaying),
        mesh.presence,
        *(() if settings.replaying else (HistoryProjection(settings),)),
    )
    conversation.setup(mesh, sessions)
    sentiment_analyzer.setup(mesh)
    intent_analyzer.setup(mesh, model)
    context_retriever.setup(mesh, shop, cache)
    decision_router.setup(mesh)
    execution_coordinator.setup(mesh, shop, cache)
    response_generator.setup(mesh, model)
    guardrail_validator.setup(mesh)
    escalation_router.setup(mesh, shop)
    response_aggregator.setup(mesh, sessions)
    scrape.setup(mesh)
    probes.setup(app)
    return app


def load_settings() -> Settings:
    """Return the settings, with the addresses of embedded servers that run where none are set."""
    try:
        settings = Settings()
    except ValidationError as error:
        lines = (
            f"  MESH_{str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise click.ClickException("wrong settings:\n" + "\n".join(lines)) from None
    except UnreadableSetting as error:
        raise click.ClickException(f"wrong settings:\n  {error}") from None
    running = laptop.addresses(settings.data_dir)
    return settings.model_copy(
        update={
            "broker_url": settings.broker_url or running.get("nats", "nats://127.0.0.1:4222"),
            "redis_url": settings.redis_url or running.get("redis", "redis://127.0.0.1:6379/0"),
        }
    )


def __getattr__(name: str) -> Any:
    # `faust -A app worker` looks for `app`; importing this module must not make one.
    if name == "app":
        return create_app(load_settings())
    raise AttributeError(name)


def mock_ports(settings: Settings) -> dict[str, int]:
    """Return name and port of every mock that no URL in the settings replaces."""
    mocks = {
        "customers": (settings.customers_url, settings.customers_port),
        "orders": (settings.orders_url, settings.orders_port),
        "tracking": (settings.tracking_url, settings.tracking_port),
    }
    ports = {name: port for name, (url, port) in mocks.items() if not url}
    return ports | ({"llm": settings.llm_port} if uses_mock(settings) else {})


def every_mock(settings: Settings) -> dict[str, int]:
    """Return name and port of every mock, needed or not."""
    names = ("customers", "orders", "tracking", "llm")
    return {name: getattr(settings, f"{name}_port") for name in names}


@click.group()
@click.pass_context
def cli(context: click.Context) -> None:
    """Run the actor mesh, or a part of it; look into its streams."""
    context.obj = load_settings  # for the commands that web/terminal adds


cli.add_command(topics)
cli.add_command(browse)
cli.add_command(tail)
cli.add_command(conversation_command)
cli.add_command(deadletters)
cli.add_command(audit_command)
cli.add_command(publish_command)
cli.add_command(record)
cli.add_command(backup_command)
cli.add_command(restore_command)


def _services(settings: Settings) -> dict[str, str]:
    """Return what actors call over HTTP: by setting, its URL, or that of the mock in its place."""
    urls = {
        "MESH_CUSTOMERS_URL": settings.customers_url,
        "MESH_ORDERS_URL": settings.orders_url,
        "MESH_TRACKING_URL": settings.tracking_url,
        "MESH_LLM_API_BASE": settings.llm_api_base,
    }
    mocked = {
        "MESH_LLM_API_BASE" if name == "llm" else f"MESH_{name.upper()}_URL": port
        for name, port in mock_ports(settings).items()
    }
    here = {name: f"http://127.0.0.1:{port}/health" for name, port in mocked.items()}
    return {name: url for name, url in urls.items() if url} | here


cli.add_command(create_doctor(_services, check_model))


@contextlib.contextmanager
def replay_mesh(folder: Path, request: ReplayRequest) -> Iterator[ReplayMesh]:
    """Run a mesh for one replay, of today's code, in a namespace of its own; all is gone after.

    It shares the broker that is configured or runs here, else it has one. Actors that ask the
    outside find a fresh mock shop, unless the request names the configured one. ServerError.
    """
    here = load_settings()
    embedded = not Settings().broker_url and not laptop.addresses(here.data_dir)
    ports = {name: free_port() for name in every_mock(here)}
    values: dict[str, Any] = {
        "data_dir": folder,
        "prefix": new_prefix(),
        "replaying": True,
        "replicas": 1,
        "retry_delay": 0.0,
        "store": "memory://",
        "otel_endpoint": "",
        "redis_url": here.redis_url,
        "broker_url": here.broker_url,
    }
    if request.shop == "mock":
        shop = {name: port for name, port in ports.items() if name != "llm"}
        values |= {f"{name}_url": f"http://127.0.0.1:{port}" for name, port in shop.items()}
    values |= {f"{name}_port": port for name, port in ports.items()}
    # An empty variable would let a line in `.env` count, which is meant for the real mesh.
    environment = {f"MESH_{name.upper()}": str(v) for name, v in values.items() if v != ""}
    if embedded:
        del environment["MESH_BROKER_URL"]  # it is known only once it runs
    tasks = []
    if request.asking():
        answers = tuple(f"http://127.0.0.1:{port}/health" for port in ports.values())
        tasks.append(laptop.Task("mocks", answers, environment, ("--all",)))
    for _ in range(request.workers):
        port = free_port()
        own = {**environment, "MESH_WORKER_PORT": str(port), "MESH_WEB_HOST": "127.0.0.1"}
        tasks.append(laptop.Task("worker", (f"http://127.0.0.1:{port}/",), own))
    try:
        with laptop.system(
            folder, nats=embedded, redis=False, ports=(), tasks=tasks, say=lambda _: None
        ) as processes:
            if embedded:
                values["broker_url"] = laptop.addresses(folder)["nats"]
            mesh = here.model_copy(update=values)
            yield ReplayMesh(mesh, lambda: laptop.check(processes), shared=not embedded)
    except ServerError as error:
        raise MeshError(str(error)) from error


cli.add_command(replay_command(replay_mesh))
cli.add_command(runs)


@cli.command()
def run() -> None:
    """Run everything on this machine: servers, shop, model, worker and pages."""
    settings = load_settings()
    address = f"http://{settings.web_host}"
    try:
        with _system(settings, click.echo) as processes:
            click.echo(
                BANNER.format(
                    web=f"{address}:{settings.web_port}",
                    worker=f"{address}:{settings.worker_port}",
                    data=settings.data_dir,
                    token=_token_place(settings),
                )
            )
            laptop.watch(processes, click.echo)
    except KeyboardInterrupt:
        click.echo("stopped")


def _token_place(settings: Settings) -> str:
    """Return where the operators' token is to be found; the token itself stays out of terminals."""
    if settings.operator_token.get_secret_value():
        return "MESH_OPERATOR_TOKEN"
    return str(settings.operator_token_file)


@cli.command()
def worker() -> None:
    """Run the Faust worker."""
    app = create_app(load_settings())
    # A message is thousands of small objects and no cycle: looked through after every 700 new
    # ones, as is the default, decoding takes two to three times as long.
    gc.set_threshold(COLLECT_AFTER, 10, 10)
    faust.Worker(app, loglevel="INFO", redirect_stdouts=False).execute_from_commandline()


@cli.command("web")
def web_command() -> None:
    """Run the pages."""
    settings = load_settings()

    async def pages(stop: asyncio.Event) -> None:
        tracing = await Tracing.open(settings, "web")
        gateway = Gateway(settings)
        await gateway.start()
        replays = ReplayProcesses(Path(__file__), settings.data_dir)
        try:
            begin = replays.start if settings.page_replays else None
            app = create_web(settings, gateway, tracing, begin)
            await _serve({settings.web_port: app}, settings.web_host, stop)
        finally:
            await replays.close()
            await gateway.close()
            if tracing is not None:
                await tracing.close()

    _until_signalled(logs.configuration(settings, "web"), pages)


@cli.command()
@click.option("--all", "all_of_them", is_flag=True, help="Also those that the settings replace.")
def mocks(all_of_them: bool) -> None:
    """Run the mock shop and the model mock, those of them that the settings do not replace."""
    settings = load_settings()
    apps = outside.create_apps(
        data_dir=settings.data_dir / "shop",
        seed=settings.mock_seed,
        world_folder=settings.mock_world,
        latency_ms=settings.mock_latency_ms,
        failure_rate=settings.mock_failure_rate,
        llm_latency_ms=settings.mock_llm_latency_ms,
        llm_failure_rate=settings.mock_llm_failure_rate,
        llm_api_key=settings.llm_api_key.get_secret_value() or None,
    )
    ports = every_mock(settings) if all_of_them else mock_ports(settings)
    served = {port: apps[name] for name, port in ports.items()}
    logging_config = logs.configuration(settings, "mocks")
    _until_signalled(logging_config, lambda stop: _serve(served, settings.mock_host, stop))


@cli.command("scenarios")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a scenario, on stdout.")
@click.option(
    "--url", default="", help="A running mesh; else the one on this machine, or a new one."
)
def scenarios_command(as_json: bool, url: str) -> None:
    """Play five customers against the mesh; exit status 1 if one ends wrong."""
    settings = load_settings()
    say: Say = (lambda text: click.echo(text, err=True)) if as_json else click.echo
    with contextlib.ExitStack() as stack:
        if not url and not laptop.addresses(settings.data_dir):
            say("No mesh runs here; starting one for the scenarios.")
            stack.enter_context(_system(settings, say))
            settings = load_settings()
        shop = {name: f"http://127.0.0.1:{port}" for name, port in mock_ports(settings).items()}
        ended = asyncio.run(
            scenarios.play(url or f"http://{settings.web_host}:{settings.web_port}", shop, say)
        )
    if as_json:
        for result in ended:
            click.echo(json.dumps(result.as_json()))
    sys.exit(0 if all(result.ok for result in ended) else 1)


@contextlib.contextmanager
def _system(settings: Settings, say: Say) -> Iterator[list[Server]]:
    """Run the whole system in processes of its own; yield them once it answers."""
    configured = Settings()  # without the addresses of servers that run already
    host = f"http://{settings.web_host}"
    mocks = mock_ports(settings)
    workers = range(settings.worker_port, settings.worker_port + settings.workers)
    ports = [("MESH_WEB_PORT", settings.web_port)]
    ports += [("MESH_WORKER_PORT", port) for port in workers]
    ports += [(f"MESH_{name.upper()}_PORT", port) for name, port in mocks.items()]
    tasks = []
    if mocks:
        answers = tuple(f"http://127.0.0.1:{port}/health" for port in mocks.values())
        tasks.append(laptop.Task("mocks", answers))
    for port in workers:
        tasks.append(
            laptop.Task(
                "worker", (f"{host}:{port}{probes.READY}",), {"MESH_WORKER_PORT": str(port)}
            )
        )
    tasks.append(laptop.Task("web", (f"{host}:{settings.web_port}/health/ready",)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with laptop.system(
            settings.data_dir,
            nats=not configured.broker_url,
            redis=not configured.redis_url,
            ports=ports,
            tasks=tasks,
            say=say,
        ) as processes:
            yield processes
    except ServerError as error:
        raise click.ClickException(str(error)) from None


async def _serve(apps: dict[int, web.Application], host: str, stop: asyncio.Event) -> None:
    """Serve each app on its port until `stop` is set, then let what is in hand end."""
    async with contextlib.AsyncExitStack() as stack:
        for port, app in apps.items():
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, host, port).start()
        await stop.wait()


def _until_signalled(
    logging_config: dict[str, Any], serve: Callable[[asyncio.Event], Awaitable[None]]
) -> None:
    """Run `serve` until SIGINT or SIGTERM sets the event that it is given."""
    logging.config.dictConfig(logging_config)

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(stop)

    asyncio.run(main())


if __name__ == "__main__":
    cli()
