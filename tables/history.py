"""History: conversations, turns, actions and escalations in SQLite, projected from the journal.

The journal is the truth and this is a view of it: the offset up to which it was read is kept in
the same transaction as the rows, so a crash neither loses nor doubles a turn, and deleting the
file builds it anew.
"""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import aclosing, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from mode import Service

from streams import journal
from streams.bridge.connection import connect, parse_url
from streams.errors import Undecodable
from streams.message import Message
from streams.payload import Json
from streams.reply import state_of
from streams.settings import Settings

log = logging.getLogger(__name__)

FILE: Final = "history.sqlite"
SCHEMA_VERSION: Final = 1
AGAIN_SECONDS: Final = 5.0

_SCHEMA: Final = """
CREATE TABLE conversations (
    session_id TEXT PRIMARY KEY, email TEXT, started_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    turns INTEGER NOT NULL, state TEXT NOT NULL
);
CREATE INDEX conversations_by_email ON conversations (email, updated_at);
CREATE TABLE turns (
    session_id TEXT NOT NULL, message_id TEXT NOT NULL, turn INTEGER NOT NULL, at TEXT NOT NULL,
    text TEXT NOT NULL, response TEXT, state TEXT NOT NULL, intent TEXT, sentiment TEXT,
    urgency TEXT, route TEXT NOT NULL, work_ms REAL NOT NULL, journal_offset INTEGER NOT NULL,
    PRIMARY KEY (session_id, message_id)
);
CREATE TABLE actions (
    session_id TEXT NOT NULL, message_id TEXT NOT NULL, action_id TEXT NOT NULL,
    kind TEXT NOT NULL, order_id TEXT, ok INTEGER NOT NULL, detail TEXT NOT NULL, error TEXT,
    PRIMARY KEY (session_id, message_id, action_id)
);
CREATE TABLE escalations (
    session_id TEXT NOT NULL, message_id TEXT NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL,
    reason TEXT NOT NULL, summary TEXT NOT NULL, suggested_reply TEXT NOT NULL, ticket TEXT,
    PRIMARY KEY (session_id, message_id)
);
CREATE TABLE position (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1), journal TEXT NOT NULL,
    journal_offset INTEGER NOT NULL
);
"""


class History:
    """The view in one SQLite file. Several processes may read it; each write is a transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._connection() as db:
            db.execute("PRAGMA journal_mode = WAL")
            with _transaction(db):
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version != SCHEMA_VERSION:
                    # It is only a view: another version's file is thrown away and read anew.
                    self._drop(db)
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @staticmethod
    def _drop(db: sqlite3.Connection) -> None:
        for table in ("conversations", "turns", "actions", "escalations", "position"):
            db.execute(f"DROP TABLE IF EXISTS {table}")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = NORMAL")
            yield db

    def position(self, journal: str) -> int:
        """Return the offset up to which `journal` (a name for one stream's life) was read."""
        with self._connection() as db:
            row = db.execute(
                "SELECT journal_offset FROM position WHERE journal = ?", (journal,)
            ).fetchone()
            return row["journal_offset"] if row else 0

    def apply(self, journal: str, turns: Iterable[tuple[int, Message | Undecodable]]) -> None:
        """Add finished turns; those at or before the position are known already."""
        with self._connection() as db, _transaction(db):
            row = db.execute("SELECT * FROM position").fetchone()
            if row is not None and row["journal"] != journal:
                # The stream was made anew: its offsets say nothing about ours. What was
                # remembered of the old one stays.
                row = None
            read = row["journal_offset"] if row else 0
            for offset, turn in turns:
                if offset <= read:
                    continue
                read = offset
                if isinstance(turn, Undecodable):
                    log.error("journal record %d is skipped: %s", offset, turn)
                else:
                    _add_turn(db, offset, turn)
            db.execute(
                "INSERT INTO position VALUES (1, ?, ?) ON CONFLICT (only_row) DO UPDATE SET"
                " journal = excluded.journal, journal_offset = excluded.journal_offset",
                (journal, read),
            )

    def conversation(self, session_id: str) -> Json | None:
        """Return one conversation with its turns and what was done in them, or None."""
        with self._connection() as db:
            found = _rows(db, "SELECT * FROM conversations WHERE session_id = ?", session_id)
            if not found:
                return None
            turns = _rows(
                db, "SELECT * FROM turns WHERE session_id = ? ORDER BY turn, at", session_id
            )
            actions = _rows(db, "SELECT * FROM actions WHERE session_id = ?", session_id)
            escalations = _rows(db, "SELECT * FROM escalations WHERE session_id = ?", session_id)
        for turn in turns:
            turn["route"] = json.loads(turn["route"])
            turn["actions"] = [
                action | {"ok": bool(action["ok"]), "detail": json.loads(action["detail"])}
                for action in actions
                if action["message_id"] == turn["message_id"]
            ]
            turn["escalation"] = next(
                (e for e in escalations if e["message_id"] == turn["message_id"]), None
            )
        return found[0] | {"turns": turns}

    def conversations(self, email: str, limit: int = 20) -> list[Json]:
        """Return the newest conversations of one customer."""
        with self._connection() as db:
            return _rows(
                db,
                "SELECT * FROM conversations WHERE email = ? ORDER BY updated_at DESC LIMIT ?",
                email.lower(),
                limit,
            )


def journal_offsets(data_dir: Path, session_id: str) -> list[int]:
    """Return where in the journal a session's finished turns are, as far as this machine knows.

    Only a hint: there may be no history here, and its journal may have been another one.
    """
    path = data_dir / FILE
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            found = db.execute(
                "SELECT journal_offset FROM turns WHERE session_id = ? ORDER BY turn", (session_id,)
            )
            return [row[0] for row in found]
    except sqlite3.Error as error:
        log.warning("the history cannot be asked: %s", error)
        return []


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _rows(db: sqlite3.Connection, query: str, *parameters: Any) -> list[Json]:
    return [dict(row) for row in db.execute(query, parameters)]


def _add_turn(db: sqlite3.Connection, offset: int, message: Message) -> None:
    payload = message.payload
    key = (message.session_id, message.id)
    at = payload.at.isoformat()
    state = state_of(message)
    db.execute(
        "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE"
        " SET updated_at = excluded.updated_at, state = excluded.state,"
        " turns = max(turns, excluded.turns), email = coalesce(email, excluded.email)",
        (message.session_id, (payload.email or "").lower() or None, at, at, payload.turn, state),
    )
    db.execute(
        "INSERT OR REPLACE INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *key,
            payload.turn,
            at,
            payload.text,
            payload.response.text if payload.response else None,
            state,
            payload.intent.name if payload.intent else None,
            payload.sentiment.label if payload.sentiment else None,
            payload.sentiment.urgency if payload.sentiment else None,
            json.dumps([hop.actor for hop in message.trace]),
            sum(hop.duration_ms for hop in message.trace),
            offset,
        ),
    )
    for result in payload.execution.results if payload.execution else []:
        db.execute(
            "INSERT OR REPLACE INTO actions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *key,
                result.action_id,
                result.kind,
                result.order_id,
                result.ok,
                json.dumps(result.detail, default=str),
                result.error,
            ),
        )
    # A turn that operators redrove comes again, and may end better.
    db.execute("DELETE FROM escalations WHERE session_id = ? AND message_id = ?", key)
    if (escalation := payload.escalation) is not None:
        db.execute(
            "INSERT INTO escalations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *key,
                at,
                escalation.kind,
                escalation.reason,
                escalation.summary,
                escalation.suggested_reply,
                escalation.ticket,
            ),
        )


class HistoryProjection(Service):
    """Keeps the history up with the journal for as long as the worker runs."""

    def __init__(self, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = settings

    async def on_start(self) -> None:
        """Open the file, or make it."""
        path = self.settings.data_dir / FILE
        self.history = await asyncio.to_thread(History, path)

    @Service.task
    async def _keep_following(self) -> None:
        while not self.should_stop:
            try:
                await self._follow()
            except Exception:
                # A view that fails must not stop the chats; it goes on from its position.
                log.exception("the history cannot follow the journal, trying again")
                await self.sleep(AGAIN_SECONDS)

    async def _follow(self) -> None:
        client = await connect(parse_url(self.settings.faust_broker()), name="history")
        try:
            stream = await journal.identity(client, self.settings.prefix)
            after = await asyncio.to_thread(self.history.position, stream)
            async with aclosing(
                journal.finished_turns(client, self.settings.prefix, after)
            ) as finished:
                async for turns in finished:
                    await asyncio.to_thread(self.history.apply, stream, turns)
                    if self.should_stop:
                        break
        finally:
            # A stop cancels once more what does not end at once; the connection is closed anyway.
            leaving = asyncio.ensure_future(client.close())
            while not leaving.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.shield(leaving)
