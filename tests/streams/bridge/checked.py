"""A shop with a live check: a worker, and beside it the LiveCheck app that follows its orders.

Also an app for Faust's commands: it has a model, a table, and a command of its own.
"""

import asyncio
import os
import sys
from typing import Any, cast

import faust
from faust import cli
from faust.livecheck import Case, Signal
from faust.types import StreamT

app = faust.App(
    "shop",
    broker=os.environ["BROKER"],
    datadir=os.environ["DATADIR"],
    store=os.environ.get("STORE", "memory://"),
    topic_partitions=2,
    web_enabled=False,
    stream_recovery_delay=0.0,
    origin="tests.streams.bridge.checked",
)


class Order(faust.Record):
    """What a customer wants."""

    id: str
    price: float


orders = app.topic("orders", value_type=Order)
totals = app.Table("totals", default=float, partitions=2)


@app.command(cli.option("--price", type=float, default=1.0))
async def place(self: Any, price: float) -> None:
    """Place an order."""
    sent = await (await orders.send(key="k", value=Order("by command", price)))
    self.say(f"placed at {sent.topic}, {sent.offset}")


async def check() -> None:
    """Run both apps until the live check of one order has passed."""
    passed = asyncio.Event()
    livecheck = app.LiveCheck(web_enabled=False)

    @livecheck.case(probability=1.0)
    class Test_order(Case):
        """An order goes all the way."""

        received: Signal[Order]
        counted: Signal[float]

        async def run(self, price: float) -> None:
            order = await self.received.wait(timeout=20.0)
            assert order.price == price
            assert await self.counted.wait(timeout=20.0) == price
            passed.set()

    case: Any = Test_order

    @app.agent(orders)
    async def take(stream: StreamT[Any]) -> None:
        async for order in stream:
            assert livecheck.current_test is not None
            await case.received.send(order)
            totals["all"] += order.price
            await case.counted.send(totals["all"])

    app.finalize()
    livecheck.finalize()
    await app.start()
    await livecheck.start()
    for tables in (cast(Any, app.tables), cast(Any, livecheck.tables)):
        await tables.recovery.completed.wait()
    async with case.maybe_trigger("order-1", price=3.5):
        await orders.send(value=Order("order-1", 3.5))
    await asyncio.wait_for(passed.wait(), 30)
    print("the live check has passed")
    await livecheck.stop()
    await app.stop()


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        asyncio.run(check())
    else:
        app.main()
