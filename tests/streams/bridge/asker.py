"""A client-only app in a process of its own: it asks the ledger's workers until it is ended."""

import asyncio
import os
import signal

from tests.streams.bridge.ledger import app, double, note


async def main() -> None:
    """Ask, note each answer, stop in good order."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await app.start_client()
    number = 0
    while not ended.is_set():
        number += 1
        answer = await asyncio.wait_for(double.ask(number), 60)
        note("answer" if answer == number * 2 else "wrong", offset=number)
        await asyncio.sleep(float(os.environ.get("PAUSE", "0.05")))
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main())
