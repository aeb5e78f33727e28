"""From where somebody asks: no address that was made up counts."""

from pathlib import Path
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from streams.gateway import Gateway
from streams.settings import Settings
from web.address import FORWARDED_FOR, client_address
from web.room import ROOM, Room

PEER = "10.42.0.7"
CUSTOMER = "203.0.113.9"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("room")


def asked_from(folder: Path, proxies: int, *lines: str) -> str:
    """Return the address of a request with these lines of the header."""
    settings = Settings(data_dir=folder, broker_url="nats://nowhere", proxies=proxies)
    app = web.Application()
    app[ROOM] = Room.create(settings, Gateway(settings), None)
    transport = Mock(get_extra_info={"peername": (PEER, 40_000)}.get)
    headers = CIMultiDict((FORWARDED_FOR, line) for line in lines)
    return client_address(
        make_mocked_request("GET", "/", headers=headers, app=app, transport=transport)
    )


@pytest.mark.parametrize(
    ("proxies", "lines", "address"),
    [
        (0, (), PEER),
        (0, (CUSTOMER,), PEER),
        (1, (), PEER),
        (1, (CUSTOMER,), CUSTOMER),
        (1, ("192.0.2.1, " + CUSTOMER,), CUSTOMER),
        (1, ("192.0.2.1", CUSTOMER), CUSTOMER),
        (2, (CUSTOMER,), PEER),
        (2, (f"192.0.2.1,{CUSTOMER} , 198.51.100.4",), CUSTOMER),
        (1, ("2001:DB8:0::9",), "2001:db8::9"),
        (1, ("unknown",), PEER),
        (1, (f"{CUSTOMER},",), PEER),
        (1, ("",), PEER),
        (1, ("203.0.113.9.1",), PEER),
    ],
)
def test_it_is_what_the_outermost_of_our_proxies_saw(
    folder: Path, proxies: int, lines: tuple[str, ...], address: str
) -> None:
    assert asked_from(folder, proxies, *lines) == address


@given(made_up=st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_whatever_is_made_up_changes_nothing(folder: Path, made_up: str) -> None:
    assert asked_from(folder, 0, made_up) == PEER
    assert asked_from(folder, 1, f"{made_up}, {CUSTOMER}") == CUSTOMER
    assert asked_from(folder, 1, made_up, CUSTOMER) == CUSTOMER
    assert asked_from(folder, 2, made_up, f"{CUSTOMER}, 198.51.100.4") == CUSTOMER
