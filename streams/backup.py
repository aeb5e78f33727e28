"""Streams as files, and files as streams again: what is in JetStream, kept elsewhere.

A stream becomes a folder with `backup.json`, its configuration and state, and `stream.tar.s2`, the
server's own snapshot: the layout that NATS's command line uses. Offsets, identity and message ids
come back as they were.
"""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from streams.bridge.layout import shared_stream, stream_name
from streams.bridge.topics import every_stream
from streams.errors import MeshError

ABOUT: Final = "backup.json"
DATA: Final = "stream.tar.s2"
CHUNK: Final = 128 * 1024
SECONDS: Final = 30.0  # for one answer or chunk
_API: Final = "$JS.API.STREAM"


class BackupFailed(MeshError):
    """A stream could not be kept or brought back; the text names it and says why."""


class Kept(NamedTuple):
    """A stream that was kept, or brought back."""

    stream: str
    records: int
    bytes: int


async def backup(client: Client, prefix: str, folder: Path) -> AsyncGenerator[Kept, None]:
    """Keep every stream of a mesh in a new folder, yielding each; BackupFailed if one cannot be.

    The group's offsets come first: records that are kept later are worked on again, never passed
    over. Only while no worker runs is all of it one moment.
    """
    names = await _streams(client, prefix)
    if not names:
        raise BackupFailed(f"there are no streams below the prefix {prefix!r}")
    draft = _begin(folder)
    for name in names:
        yield await _keep(client, name, draft / name)
    draft.rename(folder)


async def restore(client: Client, prefix: str, folder: Path) -> AsyncGenerator[Kept, None]:
    """Bring back every stream in a folder, yielding each; none of the mesh's may be there yet."""
    kept = _kept_in(folder)
    if there := await _streams(client, prefix):
        raise BackupFailed(
            f"streams are there already: {', '.join(there)}. Stop workers and pages, and delete "
            "them, or take another server"
        )
    for path in kept:
        yield await _bring_back(client, path)


def _begin(folder: Path) -> Path:
    """Return the folder that is written to until all is there."""
    if folder.exists():
        raise BackupFailed(f"{folder} is there already: a backup is not written over")
    draft = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    return draft


def _kept_in(folder: Path) -> list[Path]:
    if not (found := sorted(path.parent for path in folder.glob(f"*/{ABOUT}"))):
        raise BackupFailed(f"{folder} holds no backup")
    return found


async def _streams(client: Client, prefix: str) -> list[str]:
    """Return the names of a mesh's streams, the group's bucket first."""
    bucket = f"KV_{prefix}-groups"
    names = [info.config.name or "" async for info in every_stream(client.jetstream())]
    begins = stream_name(prefix, "")
    ours = sorted(name for name in names if name.startswith(begins))
    first = [name for name in (bucket, shared_stream(prefix)) if name in names]
    return first + ours


async def _keep(client: Client, name: str, folder: Path) -> Kept:
    os.mkdir(folder, mode=0o700)
    chunks: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=chunks.put)
    try:
        asked = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": CHUNK}
        about = await _ask(client, f"{_API}.SNAPSHOT.{name}", asked, name)
        with (folder / DATA).open("xb") as file:
            while chunk := await _next(chunks, name):
                file.write(chunk.data)
                if chunk.reply:
                    await client.publish(chunk.reply, b"")
    finally:
        await subscription.unsubscribe()
    kept = {"config": about["config"], "state": about["state"]}
    (folder / ABOUT).write_text(json.dumps(kept, indent=2))
    return Kept(name, about["state"]["messages"], about["state"]["bytes"])


async def _next(chunks: asyncio.Queue[Msg], name: str) -> Msg | None:
    """Return the next piece of a snapshot; None at its end, which is an empty one."""
    try:
        async with asyncio.timeout(SECONDS):
            chunk = await chunks.get()
    except TimeoutError:
        raise BackupFailed(f"{name}: the server has stopped sending") from None
    if chunk.data:
        return chunk
    status = (chunk.headers or {}).get("Status", "")
    if status and not status.startswith("2"):
        raise BackupFailed(f"{name}: {status} {(chunk.headers or {}).get('Description', '')}")
    return None


async def _bring_back(client: Client, folder: Path) -> Kept:
    name = folder.name
    try:
        about = json.loads((folder / ABOUT).read_text())
        asked = {"config": about["config"], "state": about["state"]}
        file = (folder / DATA).open("rb")
    except (OSError, ValueError, KeyError) as error:
        raise BackupFailed(f"{folder} is no backup of a stream: {error}") from None
    with file:
        begun = await _ask(client, f"{_API}.RESTORE.{name}", asked, name)
        to: str = begun["deliver_subject"]
        while chunk := file.read(CHUNK):
            await _ask(client, to, chunk, name)
        await _ask(client, to, b"", name)
    try:
        state = (await client.jetstream().stream_info(name)).state
    except NotFoundError:
        raise BackupFailed(f"{name}: the server did not keep it") from None
    if state.messages != about["state"]["messages"]:
        raise BackupFailed(
            f"{name}: {state.messages} records came back of {about['state']['messages']}"
        )
    return Kept(name, state.messages, state.bytes)


async def _ask(client: Client, subject: str, body: bytes | dict[str, Any], name: str) -> Any:
    """Return what the server answers; BackupFailed with its own words if it refuses."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        answer = await client.request(subject, sent, timeout=SECONDS)
    except (nats.errors.Error, TimeoutError) as error:
        raise BackupFailed(f"{name}: {error or 'no answer'}") from None
    told = json.loads(answer.data) if answer.data else {}
    if refusal := told.get("error"):
        raise BackupFailed(f"{name}: {refusal.get('description', refusal)}")
    return told
