"""From where somebody asks: what limits count that know nobody by name."""

from ipaddress import ip_address
from typing import Final

from aiohttp import web

from web.room import ROOM

FORWARDED_FOR: Final = "X-Forwarded-For"


def client_address(request: web.Request) -> str:
    """Return the address that a request comes from, behind as many proxies as are set.

    Each proxy adds the address that it was asked from on the right of `X-Forwarded-For`. What lies
    further left than our own proxies wrote, anybody may have made up; where they wrote nothing, or
    no address, it is the peer's.
    """
    peer = request.remote or ""
    proxies = request.app[ROOM].settings.proxies
    stations = ",".join(request.headers.getall(FORWARDED_FOR, ())).split(",")
    if not 0 < proxies <= len(stations):
        return peer
    try:
        return str(ip_address(stations[-proxies].strip()))
    except ValueError:
        return peer
