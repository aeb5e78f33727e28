"""Whether the cache's Redis is there: what `app.py doctor` says of it."""

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from streams.checkup.finding import Finding, failed, ok, warning
from streams.settings import Settings

CHECK = "Redis"
SECONDS = 3.0


async def check_redis(settings: Settings) -> Finding:
    """Return whether Redis lets us in. Without it the mesh works, and asks the shop each time."""
    redis: Redis = Redis.from_url(
        settings.redis_url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS
    )
    try:
        told = await redis.info("server")
    except AuthenticationError as error:
        return failed(CHECK, f"Redis refuses the login: {error}", "Look at MESH_REDIS_URL.")
    except (RedisTimeout, RedisError, OSError) as error:
        return warning(
            CHECK,
            f"Redis cannot be asked: {error}",
            "Look whether it runs, and at MESH_REDIS_URL; until then the shop is asked for "
            "everything.",
        )
    finally:
        await redis.aclose()
    return ok(CHECK, f"Redis {told.get('redis_version', 'of an unknown version')} lets us in")
