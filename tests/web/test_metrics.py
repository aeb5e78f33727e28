from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from streams.settings import Settings
from tests.waiting import until
from tests.web.conftest import Web
from tests.web.operators import bearer
from tests.web.responder import Responder

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(client: Web, settings: Settings, accept: str = "text/plain") -> Series:
    """Return the series of `/metrics`, read by the parser for the format that was asked for."""
    token = settings.metrics_bearer().decode()
    headers = {"Authorization": f"Bearer {token}", "Accept": accept}
    async with client.http.get("/metrics", headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == accept.partition(";")[0]
        text = await answer.text()
    parse = openmetrics if "openmetrics" in accept else prometheus
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def read(series: Series, name: str, **labels: str) -> float | None:
    return series.get((name, frozenset(labels.items())))


async def test_requests_count_by_route_and_status_and_never_by_path(
    client: Web, settings: Settings, responder: Responder
) -> None:
    await client.chat("hello")
    await client.chat("")
    session, _ = await client.session()
    await client.get(f"/api/chat/{session}/replies")
    await client.get(f"/{session}")
    await client.http.post("/health/live")
    series = await scrape(client, settings)
    count = "mesh_http_requests_total"
    chat = {"method": "POST", "route": "/api/chat"}
    assert read(series, count, status="200", **chat) == 1
    assert read(series, count, status="422", **chat) == 1
    assert read(series, "mesh_http_request_seconds_count", **chat) == 2
    replies = {"method": "GET", "route": "/api/chat/{session_id}/replies"}
    assert read(series, count, status="401", **replies) == 1
    unknown = {"method": "none", "route": "none"}
    assert read(series, count, status="404", **unknown) == 1
    assert read(series, count, status="405", **unknown) == 1
    assert not any(session in value for _, labels in series for _, value in labels)


async def test_sockets_and_turns_are_those_of_this_moment(
    client: Web, settings: Settings, responder: Responder
) -> None:
    _, token = await client.session()
    responder.silent = True
    socket = await client.socket(token)
    await socket.say("hello", "m1")
    await socket.receive("accepted")
    series = await scrape(client, settings)
    assert read(series, "mesh_sockets") == 1
    assert read(series, "mesh_broker_connected") == 1
    assert read(series, "mesh_turns_waiting") == 1
    assert read(series, "mesh_turns_late") == 0
    await socket.close()

    async def nobody() -> bool:
        return read(await scrape(client, settings), "mesh_sockets") == 0

    await until(nobody)


async def test_pages_that_are_told_of_news_count_while_they_are_open(
    client: Web, settings: Settings, responder: Responder
) -> None:
    _, answer = await client.chat("hello")
    live = f"/api/streams/conversation/{answer['session_id']}/live"
    async with client.http.get(live, headers=bearer(settings)) as stream:
        await stream.content.readline()
        assert read(await scrape(client, settings), "mesh_event_streams") == 1

    async def ended() -> bool:
        return read(await scrape(client, settings), "mesh_event_streams") == 0

    await until(ended)
    series = await scrape(client, settings)
    place = {"method": "GET", "route": "/api/streams/conversation/{session}/live"}
    # 499 where the server notices that the page has left before it writes to it.
    counts = (read(series, "mesh_http_requests_total", status=s, **place) for s in ("200", "499"))
    assert sum(count or 0 for count in counts) == 1
    assert read(series, "mesh_http_request_seconds_count", **place) is None


async def test_prometheus_may_ask_for_openmetrics(client: Web, settings: Settings) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    series = await scrape(client, settings, accept)
    assert read(series, "mesh_sockets") == 0
    assert (read(series, "process_resident_memory_bytes") or 0) > 1e6


async def test_metrics_are_not_for_everybody(client: Web, settings: Settings) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        status, body = await client.get("/metrics", headers=headers, allow_redirects=False)
        assert status == 401, headers
        assert body["error"]["code"] == "unauthorized"
    async with client.http.get("/metrics", headers=bearer(settings)) as answer:
        assert answer.status == 200
    status, _ = await client.get(
        "/api/operator",
        headers={"Authorization": f"Bearer {settings.metrics_bearer().decode()}"},
    )
    assert status == 401  # it opens nothing else
