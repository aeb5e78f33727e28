"""The pages on a port of their own, for tests that share one mesh over a module."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from mocks.servers import free_port


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """Serve the pages; yield where."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
