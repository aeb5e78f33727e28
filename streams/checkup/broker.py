"""The broker: whether it is there, lets us in, is new enough, and holds the topics as declared."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Any, Final

import nats.errors
from nats.aio.client import Client

from streams.bridge.connection import check_jetstream, connect, parse_url
from streams.bridge.errors import AccessDenied, BridgeError
from streams.bridge.layout import stream_name
from streams.bridge.rights import Right
from streams.bridge.topics import lookup
from streams.checkup.finding import Finding, failed, ok, skipped, warning
from streams.checkup.roles import Role, harmless, rights
from streams.settings import Settings
from streams.slip import CONVERSATION
from streams.topics import topics

NEEDED: Final = (2, 11)
TESTED: Final = (2, 15)
SECONDS: Final = 5.0  # for each step
SKEW: Final = 5.0  # seconds that clocks may differ
FULL: Final = 0.9

CHECKS: Final = ("JetStream", "version", "rights", "topics", "clock")


async def check_broker(settings: Settings, roles: Iterable[Role]) -> AsyncGenerator[Finding, None]:
    """Yield what is to be said of the broker, for a login that is to serve for `roles`."""
    options = parse_url(settings.faust_broker())
    servers = ", ".join(options.servers)
    denied: list[Right] = []
    try:
        async with asyncio.timeout(SECONDS):
            client = await connect(options, name="mesh doctor", on_denied=denied.append)
    except TimeoutError:
        yield failed(
            "broker",
            f"no server answers at {servers} within {SECONDS:g} s",
            "Is it running, is the address right, is the way to it open? `python app.py run` "
            "starts one here; MESH_BROKER_URL names one that runs elsewhere.",
        )
    except AccessDenied as error:
        yield failed("broker", str(error), "Look at user and password in MESH_BROKER_URL.")
    except (BridgeError, OSError) as error:
        yield failed("broker", str(error), "Look at MESH_BROKER_URL.")
    else:
        try:
            async with aclosing(_connected(client, settings, roles, denied)) as findings:
                async for finding in findings:
                    yield finding
        finally:
            with suppress(Exception):
                await client.close()
        return
    for check in CHECKS:
        yield skipped(check, "the broker is not there")


async def _connected(
    client: Client, settings: Settings, roles: Iterable[Role], denied: list[Right]
) -> AsyncGenerator[Finding, None]:
    url = client.connected_url
    where = f"{url.hostname}:{url.port}" if url else "the server"
    yield ok("broker", f"{where} lets us in")
    yield await _jetstream(client, where)
    yield _version(client, where)
    yield await _rights(client, settings.prefix, roles, denied)
    try:
        async with asyncio.timeout(SECONDS):
            found = [finding async for finding in _topics(client, settings)]
    except (TimeoutError, BridgeError, nats.errors.Error) as error:
        text = str(error) or f"no answer within {SECONDS:g} s"
        found = [failed("topics", text, "Mend what is said of JetStream and rights first.")]
    for finding in found:
        yield finding
    yield await _clock(client, settings)


async def _jetstream(client: Client, where: str) -> Finding:
    try:
        async with asyncio.timeout(SECONDS):
            await check_jetstream(client)
            account = await client.jetstream().account_info()
    except (BridgeError, TimeoutError, nats.errors.Error) as error:
        return failed(
            "JetStream",
            str(error) or f"{where} does not answer for JetStream",
            "Switch it on (`jetstream { store_dir: … }` in the server's configuration); of a "
            "cluster, see that most of its servers run.",
        )
    limit, used = account.limits.max_storage, account.storage
    text = f"{account.streams} streams, {used / 1e9:.2f} GB"
    if limit > 0 and used > FULL * limit:
        return warning(
            "JetStream",
            f"{text} of the {limit / 1e9:.2f} GB that the account may use",
            "Raise the limit, or keep the journal for a shorter time.",
        )
    return ok("JetStream", text)


def _version(client: Client, where: str) -> Finding:
    version = client.connected_server_version
    text = f"{where} is nats-server {version.major}.{version.minor}.{version.patch}"
    if (version.major, version.minor) < NEEDED:
        return failed(
            "version", text, f"Install {'.'.join(map(str, NEEDED))} or later; newest is best."
        )
    return ok("version", f"{text} ({'.'.join(map(str, TESTED))} is tested)")


async def _rights(
    client: Client, prefix: str, roles: Iterable[Role], denied: list[Right]
) -> Finding:
    """Try each right; the server complains on the side, and before it answers a ping."""
    needed = dict.fromkeys(right for role in roles for right in rights(role, prefix))
    tried = {(right.operation, harmless(right, prefix)): right for right in needed}
    for operation, subject in tried:
        if operation == "publish":
            # Where it would be stored, this condition is one that never holds.
            await client.publish(subject, b"", headers={"Nats-Expected-Stream": "none"})
        else:
            subscription = await client.subscribe(subject, cb=_deaf)
            await subscription.unsubscribe()
    try:
        await client.flush(int(SECONDS))
    except (nats.errors.Error, TimeoutError) as error:
        return failed("rights", f"no answer: {error}", "Look at the server's log.")
    await asyncio.sleep(0)
    missing = [right for try_, right in tried.items() if Right(*try_) in denied]
    if missing:
        listed = ", ".join(f"{right.operation} {right.subject}" for right in missing)
        return failed(
            "rights",
            f"the login may not {listed}",
            'Grant it in the server\'s configuration; "Rights" in streams/bridge/README.md says '
            "what each is for.",
        )
    return ok("rights", f"the login has all {len(tried)} that {' and '.join(roles)} need")


async def _deaf(message: Any) -> None:
    """Hear, and do nothing."""


async def _topics(client: Client, settings: Settings) -> AsyncGenerator[Finding, None]:
    js = client.jetstream()
    absent, differing = [], []
    for topic in topics(settings).values():
        info = await lookup(js, settings.prefix, topic.name)
        if info is None:
            absent.append(topic.name)
            continue
        if info.partitions != settings.partitions:
            yield failed(
                "topics",
                f"{topic.name} has {info.partitions} partitions, MESH_PARTITIONS is "
                f"{settings.partitions}",
                "Partitions are for good: set MESH_PARTITIONS back, or see "
                '"Partitions" in k8s/README.md.',
            )
        stream = (await js.stream_info(info.stream)).config
        copies = stream.num_replicas or 1
        if copies != settings.replicas:
            differing.append(f"{topic.name} has {copies} copies, not {settings.replicas}")
        if abs((info.max_age or 0) - topic.retention_seconds) > 1:
            days = "ever" if not info.max_age else f"{info.max_age / 86_400:g} days"
            differing.append(
                f"{topic.name} keeps records for {days}, not "
                f"{topic.retention_seconds / 86_400:g} days"
            )
    if differing:
        yield warning(
            "topics",
            "; ".join(differing),
            "A topic that exists keeps its limits: change them with `nats stream edit`.",
        )
    if absent:
        yield ok("topics", f"{len(absent)} are not there yet: the first worker makes them")
    elif not differing:
        yield ok("topics", "all are there, as the settings say")


async def _clock(client: Client, settings: Settings) -> Finding:
    """Compare our clock with the server's, which stands in what it tells of a stream."""
    stream = stream_name(settings.prefix, CONVERSATION)
    began = time.time()
    try:
        answer = await client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=SECONDS)
        ended, told = time.time(), json.loads(answer.data).get("ts")
    except (nats.errors.Error, BridgeError, TimeoutError, ValueError):
        told = None
    if told is None:
        return skipped("clock", "there is no topic yet whose time could be compared")
    there = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", told)).timestamp()
    skew = max(began - there, there - ended, 0.0)
    if skew > SKEW:
        return warning(
            "clock",
            f"this machine and the server differ by {skew:.0f} s",
            "Run NTP on both: retries wait, and records go, by the clock.",
        )
    return ok("clock", f"within {max(skew, 0.1):.1f} s of the server's")
