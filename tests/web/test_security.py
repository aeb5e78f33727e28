import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from streams.gateway import Gateway
from streams.settings import Settings
from tests.web.conftest import Clients, Web
from web import create_web
from web.room import STATIC


@pytest.fixture
async def client(settings: Settings, aiohttp_client: Clients) -> Web:
    return Web(await aiohttp_client(create_web(settings, Gateway(settings))))


PATHS = [
    "/",
    "/login",
    "/api/operator",
    "/static/chat.js",
    "/static/chat.css",
    "/health/live",
    "/health",
    "/nowhere",
    "/ws",
]


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_the_security_headers(client: Web, path: str) -> None:
    async with client.http.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "Server" not in answer.headers
        assert answer.headers["Cache-Control"] in ("no-store", "no-cache")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/static/../chat.py", 404),
        ("GET", "/static/..%2fchat.py", 404),
        ("GET", "/static/", 403),
        ("GET", "/api/chat", 405),
        ("PUT", "/api/session", 405),
        ("GET", "/ws", 400),
    ],
)
async def test_errors_are_json(client: Web, method: str, path: str, status: int) -> None:
    async with client.http.request(method, path) as answer:
        assert answer.status == status
        error = (await answer.json())["error"]
        assert set(error) == {"code", "message"}


async def test_a_fault_of_ours_tells_a_reference_and_nothing_else(
    client: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("web.session.Sessions.open", broken)
    async with client.http.post("/api/session", json={"email": "a@example.com"}) as answer:
        text = await answer.text()
    assert answer.status == 500
    assert "secret" not in text
    reference = re.search(r"reference (\w+)", text)
    assert reference is not None
    assert reference[1] in caplog.text


async def test_a_broker_that_is_away_is_said_with_when_to_come_again(client: Web) -> None:
    async with client.http.post(
        "/api/chat", json={"message": "hi", "email": "a@example.com"}
    ) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.mark.parametrize("file", sorted(STATIC.glob("*.html")), ids=lambda path: path.name)
def test_pages_have_no_inline_script_or_style_and_nothing_from_elsewhere(file: Path) -> None:
    page = Elements()
    page.feed(file.read_text())
    for tag, attributes in page.seen:
        assert tag != "style"
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        if tag == "script":
            assert attributes.get("src")
        for name in ("src", "href", "action"):
            value = attributes.get(name)
            if tag == "a" and value is not None and value.startswith("https://"):
                # To follow, not to load; where it leads learns nothing of us.
                assert attributes.get("rel") == "noreferrer"
                continue
            assert value is None or re.fullmatch(r"/?static/[\w.]+|/(?!/)[\w/]*", value)


@pytest.mark.parametrize("file", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_scripts_never_read_text_as_markup(file: Path) -> None:
    code = file.read_text()
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert way not in code


def test_files_point_to_nothing_outside() -> None:
    for file in STATIC.iterdir():
        text = file.read_text().replace('"http://www.w3.org/2000/svg"', "")
        text = re.sub(r'<a href="https://[\w./]+" rel="noreferrer">', "", text)
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", text), file.name
