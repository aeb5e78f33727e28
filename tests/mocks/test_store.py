import json
import sqlite3
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mocks.cast import ANGRY, CAST, CONFUSED
from mocks.service import Conflict
from mocks.store import Answer, KeyReused, Store
from mocks.world import World, generate


def test_a_filled_store_holds_the_world(shop: Path, world: World) -> None:
    store = Store(shop)
    for order_id, order in world.orders.items():
        assert store.orders.get(order_id) == order
    assert len(store.products.all()) == len(world.products)
    customer = world.customers[CAST[CONFUSED].customer_id]
    assert {order["id"] for order in store.orders.of(customer["id"])} == set(customer["orders"])
    assert store.customers.get("nobody") is None
    store.close()


def test_filling_with_the_same_world_changes_nothing(shop: Path, world: World) -> None:
    store = Store(shop)
    assert store.fill(world) is False
    store.close()


def test_what_was_changed_is_there_after_a_restart(shop: Path) -> None:
    store = Store(shop)
    order_id = CAST[ANGRY].order_ids[0]

    def work() -> Answer:
        order = store.orders.get(order_id)
        assert order is not None
        order["status"] = "delivered"
        store.orders.put(order)
        return Answer(200, "{}")

    store.once("POST /a", "k", "{}", work)
    # No close: a killed process does not close anything either.
    again = Store(shop)
    order = again.orders.get(order_id)
    assert order is not None
    assert order["status"] == "delivered"
    assert again.once("POST /a", "k", "{}", pytest.fail) == (Answer(200, "{}"), True)
    store.close()
    again.close()


def test_a_later_day_refreshes_what_nobody_touched(shop: Path, world: World, now: datetime) -> None:
    store = Store(shop)
    touched, untouched = CAST[ANGRY].order_ids[0], CAST[CONFUSED].order_ids[1]
    (parcel,) = store.parcels.of(touched)

    def work() -> Answer:
        order = store.orders.get(touched)
        assert order is not None
        store.orders.put(order)
        return Answer(200, "{}")

    store.once("POST /a", None, "{}", work)
    later = generate(7, now + timedelta(days=9))
    assert store.fill(later) is True
    assert store.orders.get(touched) == world.orders[touched]
    # An order and its parcels keep fitting together.
    assert store.parcels.of(touched) == [parcel]
    assert store.orders.get(untouched) == later.orders[untouched] != world.orders[untouched]
    assert len(store.orders.of(CAST[CONFUSED].customer_id)) == 2
    store.close()


def test_a_touched_parcel_keeps_its_order(shop: Path, world: World, now: datetime) -> None:
    store = Store(shop)
    order_id = CAST[ANGRY].order_ids[0]

    def work() -> Answer:
        store.parcels.put(store.parcels.of(order_id)[0])
        return Answer(200, "{}")

    store.once("POST /a", None, "{}", work)
    store.fill(generate(7, now + timedelta(days=9)))
    assert store.orders.get(order_id) == world.orders[order_id]
    store.close()


def test_a_crash_keeps_neither_change_nor_key(shop: Path) -> None:
    store = Store(shop)
    order_id = CAST[ANGRY].order_ids[0]

    def crash() -> Answer:
        order = store.orders.get(order_id)
        assert order is not None
        order["status"] = "cancelled"
        store.orders.put(order)
        store.number("issue", "TK")
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        store.once("POST /a", "k", "{}", crash)
    order = store.orders.get(order_id)
    assert order is not None
    assert order["status"] == "shipped"
    answer = Answer(200, json.dumps("fine"))
    assert store.once("POST /a", "k", "{}", lambda: answer) == (answer, False)
    store.close()


def test_a_no_undoes_its_changes_but_is_kept(shop: Path) -> None:
    store = Store(shop)
    order_id = CAST[ANGRY].order_ids[0]

    def refuse() -> Answer:
        try:
            with store.attempt():
                order = store.orders.get(order_id)
                assert order is not None
                order["status"] = "cancelled"
                store.orders.put(order)
                raise Conflict("no")
        except Conflict:
            return Answer(409, "no")

    assert store.once("POST /a", "k", "{}", refuse) == (Answer(409, "no"), False)
    assert store.once("POST /a", "k", "{}", pytest.fail) == (Answer(409, "no"), True)
    order = store.orders.get(order_id)
    assert order is not None
    assert order["status"] == "shipped"
    store.close()


def test_a_key_belongs_to_its_path_and_body(shop: Path) -> None:
    store = Store(shop)
    first, second = Answer(200, "first"), Answer(200, "second")
    store.once("POST /a", "k", "{}", lambda: first)
    with pytest.raises(KeyReused):
        store.once("POST /a", "k", '{"other": 1}', lambda: second)
    assert store.once("POST /b", "k", '{"other": 1}', lambda: second) == (second, False)
    store.close()


def test_without_a_key_nothing_is_repeated(shop: Path) -> None:
    store = Store(shop)
    numbers = [
        store.once("POST /a", None, "{}", lambda: Answer(200, store.number("issue", "TK")))[0].body
        for _ in range(3)
    ]
    assert numbers == ["TK-0000001", "TK-0000002", "TK-0000003"]
    store.close()


def test_two_services_on_one_file_do_a_keyed_change_once(shop: Path) -> None:
    answers: list[tuple[Answer, bool]] = []
    barrier = threading.Barrier(6)

    def run() -> None:
        store = Store(shop)
        barrier.wait()
        for key in range(10):
            answers.append(
                store.once(
                    "POST /a",
                    str(key),
                    "{}",
                    lambda: Answer(200, store.number("issue", "TK")),
                )
            )
        store.close()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 60
    assert len({answer.body for answer, _ in answers}) == 10
    assert sum(not repeated for _, repeated in answers) == 10


def test_text_is_a_parameter_and_never_sql(shop: Path, world: World) -> None:
    store = Store(shop)
    nasty = "x'; DROP TABLE documents; --"
    assert store.customers.get(nasty) is None
    assert store.orders.of(nasty) == []
    store.once(nasty, nasty, nasty, lambda: Answer(200, nasty))
    assert len(store.orders.all()) == len(world.orders)
    store.close()


def test_a_closed_store_says_so(shop: Path) -> None:
    store = Store(shop)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.customers.get("anybody")
