"""The topics' page and its API: what every topic holds, how fast it grows, who reads it."""

from aiohttp import web

from web.lookout import LOOKOUT
from web.operator import operator, operator_page


def setup(app: web.Application) -> None:
    """Offer the page and `GET /api/streams`."""
    app.router.add_get("/streams", operator_page("topics.html"))
    app.router.add_get("/api/streams", overview)


async def overview(request: web.Request) -> web.Response:
    """`GET /api/streams`: every topic with its partitions, and the groups of workers."""
    operator(request)
    seen = await request.app[LOOKOUT].look()
    return web.json_response(text=seen.model_dump_json())
