"""What the shop remembers: its documents and the answers it has already given, in one SQLite file.

The file is the truth and nothing is kept in memory, so the services may run in one process or in
three on the same file, and a service that is killed and started again has forgotten nothing.

A world is poured into the file by `fill`. On a later day the same world, moved to that day, is
poured over it: documents that nobody has touched become fresh, changed ones stay as they are. An
order and its parcels count as one there, so that their dates keep agreeing with each other.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from mocks.shapes import Credit, Customer, Dispute, Investigation, Issue, Order, Parcel, Product
from mocks.world import World

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,        -- whose it is: what the kind is looked up by besides its id
    body TEXT NOT NULL,         -- the document, JSON
    changed INTEGER NOT NULL,   -- 1: somebody touched it, a fresh world leaves it alone
    PRIMARY KEY (kind, id)
);
CREATE INDEX IF NOT EXISTS documents_by_owner ON documents (kind, owner);
CREATE TABLE IF NOT EXISTS answers (
    scope TEXT NOT NULL,        -- method and path
    key TEXT NOT NULL,          -- the caller's Idempotency-Key
    asked TEXT NOT NULL,        -- digest of the body that came with the key
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_T = TypeVar("_T")


class KeyReused(Exception):
    """An Idempotency-Key has come back with another body than the first time."""


@dataclass(frozen=True)
class Answer:
    """What a service answered: a status and a JSON body, kept to be given again."""

    status: int
    body: str


class Shelf(Generic[_T]):
    """All documents of one kind."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        kind: str,
        id_of: Callable[[_T], str],
        owner_of: Callable[[_T], str],
    ) -> None:
        self._connection = connection
        self.kind = kind
        self.id_of = id_of
        self.owner_of = owner_of

    def get(self, document_id: str) -> _T | None:
        """Return one document, a copy of the caller's own."""
        row = self._connection.execute(
            "SELECT body FROM documents WHERE kind = ? AND id = ?", (self.kind, document_id)
        ).fetchone()
        return None if row is None else cast(_T, json.loads(row[0]))

    def of(self, owner: str) -> list[_T]:
        """Return the documents of an owner: a customer's orders, an order's parcels."""
        rows = self._connection.execute(
            "SELECT body FROM documents WHERE kind = ? AND owner = ? ORDER BY id",
            (self.kind, owner),
        )
        return [cast(_T, json.loads(body)) for (body,) in rows]

    def all(self) -> list[_T]:
        """Return every document of the kind."""
        rows = self._connection.execute(
            "SELECT body FROM documents WHERE kind = ? ORDER BY id", (self.kind,)
        )
        return [cast(_T, json.loads(body)) for (body,) in rows]

    def put(self, document: _T) -> None:
        """Write a new or changed document; only inside `Store.once`."""
        self._connection.execute(
            "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, 1)",
            (self.kind, self.id_of(document), self.owner_of(document), _dump(document)),
        )


class Store:
    """The shop's memory in one SQLite file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Calls are short and block; the lock lets a server in another thread share the store.
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        # With a write-ahead log readers never wait for writers. NORMAL may lose the last changes
        # when the machine loses power, but not when a process is killed: right for a mock.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

        self.customers: Shelf[Customer] = Shelf(
            self._db, "customer", lambda one: one["id"], lambda one: one["email"].lower()
        )
        self.orders: Shelf[Order] = Shelf(
            self._db, "order", lambda one: one["id"], lambda one: one["customer_id"]
        )
        self.parcels: Shelf[Parcel] = Shelf(
            self._db, "parcel", lambda one: one["tracking_id"], lambda one: one["order_id"]
        )
        self.products: Shelf[Product] = Shelf(
            self._db, "product", lambda one: one["id"], lambda one: ""
        )
        self.issues: Shelf[Issue] = Shelf(
            self._db, "issue", lambda one: one["id"], lambda one: one["customer_id"]
        )
        self.credits: Shelf[Credit] = Shelf(
            self._db, "credit", lambda one: one["credit_id"], lambda one: ""
        )
        self.disputes: Shelf[Dispute] = Shelf(
            self._db, "dispute", lambda one: one["dispute_id"], lambda one: one["order_id"]
        )
        self.investigations: Shelf[Investigation] = Shelf(
            self._db,
            "investigation",
            lambda one: one["investigation_id"],
            lambda one: one["tracking_id"],
        )

    def close(self) -> None:
        """Close the file; every change that was answered is in it already."""
        self._db.close()

    def fill(self, world: World) -> bool:
        """Pour a world in, over whatever nobody has changed; say whether anything was new."""
        rows = [
            (shelf.kind, shelf.id_of(document), shelf.owner_of(document), _dump(document))
            for shelf, documents in self._shelves(world)
            for document in documents.values()
        ]
        digest = hashlib.sha256(repr(rows).encode()).hexdigest()
        with self._transaction():
            known = self._db.execute("SELECT value FROM facts WHERE name = 'world'").fetchone()
            if known is not None and known[0] == digest:
                return False
            self._db.execute("DELETE FROM documents WHERE changed = 0")
            self._db.executemany("INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?, 0)", rows)
            self._db.execute("INSERT OR REPLACE INTO facts VALUES ('world', ?)", (digest,))
        return True

    def begin_anew(self, world: World, customer_id: str) -> bool:
        """Put a customer and all that is theirs back to how `world` has it; False if unknown."""
        if customer_id not in world.customers:
            return False
        with self._transaction():
            orders = [order["id"] for order in self.orders.of(customer_id)]
            parcels = [p["tracking_id"] for order in orders for p in self.parcels.of(order)]
            self._forget(self.parcels, orders)
            self._forget(self.disputes, orders)
            self._forget(self.investigations, parcels)
            self._forget(self.orders, [customer_id])
            self._forget(self.issues, [customer_id])
            # What was done is undone, so the answers given for it must not be repeated.
            for name in (customer_id, *parcels, *(order.removeprefix("#") for order in orders)):
                self._db.execute("DELETE FROM answers WHERE instr(scope, ?) > 0", (f"/{name}/",))
            self._db.executemany(
                "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, 0)",
                [
                    (shelf.kind, shelf.id_of(document), shelf.owner_of(document), _dump(document))
                    for shelf, documents in self._shelves(world)
                    for document in documents.values()
                    if customer_id in (shelf.id_of(document), shelf.owner_of(document))
                    or shelf.owner_of(document) in orders
                ],
            )
        return True

    def _forget(self, shelf: Shelf[Any], owners: list[str]) -> None:
        self._db.executemany(
            "DELETE FROM documents WHERE kind = ? AND owner = ?",
            [(shelf.kind, owner) for owner in owners],
        )

    def once(
        self, scope: str, key: str | None, asked: str, work: Callable[[], Answer]
    ) -> tuple[Answer, bool]:
        """Do a piece of work and keep its answer, or give the answer of the first time again.

        The change and the kept answer are one transaction: there is no moment at which a killed
        process has done the one and not the other. Returns the answer and whether it is repeated.
        `work` undoes its own half-done changes with `attempt`; what it raises undoes everything,
        and then nothing is kept, so that the caller may try again with the same key.
        """
        digest = hashlib.sha256(asked.encode()).hexdigest()
        with self._transaction():
            if key is not None:
                row = self._db.execute(
                    "SELECT asked, status, body FROM answers WHERE scope = ? AND key = ?",
                    (scope, key),
                ).fetchone()
                if row is not None:
                    if row[0] != digest:
                        raise KeyReused(key)
                    return Answer(row[1], row[2]), True
            answer = work()
            if key is not None:
                self._db.execute(
                    "INSERT INTO answers VALUES (?, ?, ?, ?, ?)",
                    (scope, key, digest, answer.status, answer.body),
                )
            # Touched orders and parcels stay together when a fresh world is poured in.
            self._db.execute(
                "UPDATE documents SET changed = 1 WHERE kind = 'order' AND changed = 0 AND id IN"
                " (SELECT owner FROM documents WHERE kind = 'parcel' AND changed = 1)"
            )
            self._db.execute(
                "UPDATE documents SET changed = 1 WHERE kind = 'parcel' AND changed = 0 AND owner"
                " IN (SELECT id FROM documents WHERE kind = 'order' AND changed = 1)"
            )
            return answer, False

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Undo the changes made inside when an exception leaves it; only inside `once`."""
        self._db.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO attempt")
            raise
        finally:
            self._db.execute("RELEASE attempt")

    def number(self, name: str, prefix: str) -> str:
        """Return the next id of a kind, such as `TR-0000012`; only inside `once`."""
        (value,) = self._db.execute(
            "INSERT INTO counters VALUES (?, 1)"
            " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            (name,),
        ).fetchone()
        return f"{prefix}-{value:07d}"

    def _shelves(self, world: World) -> list[tuple[Shelf[Any], dict[str, Any]]]:
        """Return which documents of a world go on which shelf."""
        return [
            (self.customers, world.customers),
            (self.orders, world.orders),
            (self.products, world.products),
            (self.parcels, world.parcels),
            (self.issues, world.issues),
        ]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the file's write lock; keep everything, or nothing when an exception leaves."""
        with self._lock:
            # IMMEDIATE: two services must not both read "no such key" before either writes.
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _dump(document: object) -> str:
    """Return a document as it is kept."""
    return json.dumps(document, separators=(",", ":"))
