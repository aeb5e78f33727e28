"""A client-only app in a process of its own: it asks the ledger's workers until it is ended."""

import asyncio
import os
import signal

from tests.streams.bridge.ledger import app, double, note


async def ask() -> None:
    """Ask, and note each answer."""
    number = 0
    while True:
        number += 1
        note("question", offset=number)
        answer = await asyncio.wait_for(double.ask(number), 60)
        note("answer" if answer == number * 2 else "wrong", offset=number)
        await asyncio.sleep(float(os.environ.get("PAUSE", "0.05")))


async def main() -> None:
    """Ask until the process shall end, then stop in good order."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await app.start_client()
    asking = asyncio.ensure_future(ask())
    await asyncio.wait([asking, asyncio.ensure_future(ended.wait())], return_when="FIRST_COMPLETED")
    asking.cancel()
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main())
