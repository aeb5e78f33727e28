"""A running mesh as those who watch it see it: series, dashboard, alerts, traces and log lines."""

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import subject
from streams.message import Exchange, Hop, Message
from streams.observability.metrics import Metrics
from streams.payload import Payload
from streams.slip import SENTIMENT_ANALYZER
from tests.collector import Collector, Span, collector
from tests.waiting import block_until
from tests.whole_mesh import ROOT, WholeMesh, whole_mesh

FILES = ROOT / "k8s" / "observability"
EMAIL = "tobias.wren@example.com"
TEXT = "Tobias here, my phone is +1 415 555 2671. Where is my order #W7000201?"
#: What Prometheus adds to every series by itself.
ADDED = {"job", "instance", "le"}


@dataclass
class Watched:
    """A mesh that has worked on turns, one of which has failed."""

    mesh: WholeMesh
    collector: Collector
    turns: list[dict[str, Any]]

    def get(
        self, port: str, path: str = "/metrics", token: str | None = "", accept: str = "text/plain"
    ) -> tuple[int, str, str]:
        """Return status, content type and text of a page of the worker or the web process."""
        kept = self.mesh.settings().metrics_bearer().decode()
        headers = {"Accept": accept}
        if token is not None:
            headers["Authorization"] = f"Bearer {token or kept}"
        url = f"http://127.0.0.1:{self.mesh.ports[port]}{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched") / "mesh"
    with collector() as received:
        settings = {"MESH_OTEL_ENDPOINT": received.url, "MESH_LOG_FORMAT": "json"}
        with whole_mesh(folder, settings) as mesh:
            # Prometheus reads the token's file before it asks for the first time.
            assert (folder / "metrics_token").stat().st_mode & 0o777 == 0o600
            turns = [say(mesh) for _ in range(3)]
            asyncio.run(put_garbage(mesh))
            running = Watched(mesh, received, turns)
            buried = 'mesh_dead_letters_total{actor="sentiment_analyzer",reason="unreadable"} 1.0'
            block_until(
                lambda: buried in running.get("worker")[2], "the garbage being a dead letter"
            )
            yield running


def say(mesh: WholeMesh) -> dict[str, Any]:
    """Send one turn and return its answer."""
    body = json.dumps({"message": TEXT, "email": EMAIL}).encode()
    request = urllib.request.Request(
        f"{mesh.url}/api/chat", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        told: dict[str, Any] = json.load(answer)
    assert told["state"] == "answered"
    return told


async def put_garbage(mesh: WholeMesh) -> None:
    """Put something into a mailbox that is no message."""
    settings = mesh.settings()
    client = await connect(parse_url(settings.broker_url), name="test")
    try:
        place = subject(settings.prefix, SENTIMENT_ANALYZER, 0)
        await client.jetstream().publish(place, b'{"text": "dagny.okafor@example.com"}')
    finally:
        await client.close()


def series(text: str) -> dict[str, list[dict[str, str]]]:
    """Return the names that a scrape offers, those without a value too, with their labels."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in prometheus(text):
        for name in (family.name, f"{family.name}_total"):
            found.setdefault(name, [])
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_a_worker_tells_what_its_actors_have_done(watched: Watched) -> None:
    _, _, text = watched.get("worker")
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in prometheus(text)
        for sample in family.samples
    }
    assert values["mesh_hops_total", "done", "intent_analyzer"] == 3
    assert values["mesh_turn_seconds_count", "answered"] == 3
    assert values["mesh_worker_ready",] == 1
    assert values["mesh_messages_in_hand",] == 0
    assert values["mesh_table_entries", "mesh.sessions"] == 3
    assert values["mesh_dead_letters_total", "sentiment_analyzer", "unreadable"] == 1
    assert values["mesh_model_unpriced_calls_total", "hosted_vllm/mesh-mock"] >= 3
    assert "mesh_cost" not in text
    for topic in ("mesh.conversation", "mesh.response_aggregator"):
        for partition in "0123":
            assert ("mesh_topic_lag_records", partition, topic) in values
    assert values["mesh_shop_call_seconds_count", "customers", "ok"] >= 1
    assert values["mesh_cache_lookups_total", "miss"] >= 1


def test_openmetrics_has_examples_that_lead_to_traces(watched: Watched) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    status, content_type, text = watched.get("worker", accept=accept)
    assert (status, content_type.partition(";")[0]) == (200, "application/openmetrics-text")
    examples = {
        sample.exemplar.labels["trace_id"]
        for family in openmetrics(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar
    }
    known = {span.trace for span in watched.collector.spans()}
    of_turns = {
        span.trace
        for turn in watched.turns
        for span in watched.collector.trace(ended, mesh_turn=turn["message_id"])
    }
    assert examples & (known | of_turns)


@pytest.mark.parametrize("port", ["worker", "web"])
def test_metrics_take_their_token_and_no_other(watched: Watched, port: str) -> None:
    assert watched.get(port)[0] == 200
    assert watched.get(port, token=None)[0] == 401
    assert watched.get(port, token="wrong")[0] == 401


def test_a_workers_own_pages_show_no_conversations(watched: Watched) -> None:
    session = watched.turns[0]["session_id"]
    assert watched.get("worker", f"/table/mesh.sessions/{session}/")[0] == 404


# Dashboard and alerts


def queries() -> list[tuple[str, str]]:
    """Return every query of the dashboard and of the alert rules, with where it is."""
    dashboard = json.loads((FILES / "dashboard.json").read_text())
    found = [
        (panel["title"], target["expr"])
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]
    rules = yaml.safe_load((FILES / "alerts.yaml").read_text())
    found += [(rule["alert"], rule["expr"]) for group in rules["groups"] for rule in group["rules"]]
    return found


def parsed(query: str) -> promql_parser.Expr:
    """Return a query's tree, with Grafana's variables replaced as it would."""
    return promql_parser.parse(query.replace("$__rate_interval", "5m").replace("$job", ".*"))


def asked_for(query: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the series that a query names, with the labels that it matches."""
    nodes: list[Any] = []
    promql_parser.walk(parsed(query), nodes.append)
    for node in nodes:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name is not None, query
            yield node.name, {matcher.name for matcher in node.matchers.matchers}


def grouped_by(query: str) -> set[str]:
    return {
        label.strip()
        for labels in re.findall(r"\bby \(([^)]*)\)", query)
        for label in labels.split(",")
    }


def everything() -> dict[str, list[dict[str, str]]]:
    """Return the labels of all that a worker's actors can count."""
    metrics = Metrics()
    answer = {"prompt_tokens": 1, "completion_tokens": 1, "cost_usd": 1.0}
    exchanges = [
        Exchange(target="llm", request={"model": "m"}, response=answer, duration_ms=1),
        Exchange(target="llm", request={"model": "m"}, response={"text": ""}, duration_ms=1),
        Exchange(target="orders", request={}, error="x", duration_ms=1),
    ]
    now = datetime.now(UTC)
    metrics.hop(Hop(actor="a", started_at=now, exchanges=exchanges), "failed")
    metrics.error("a", KeyError())
    metrics.waited("a", 1)
    metrics.turn(Message(id="m", session_id="s", payload=Payload(text="x", at=now)), 1)
    found: dict[str, list[dict[str, str]]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_every_series_that_dashboard_and_alerts_name_is_there(watched: Watched) -> None:
    offered = {**series(watched.get("worker")[2]), **series(watched.get("web")[2])}
    labelled = everything()
    for where, query in queries():
        labels: set[str] = set()
        for name, matched in asked_for(query):
            assert name in offered, f"{where}: nothing exports {name}"
            samples = offered[name] or labelled[name]
            known = {label for sample in samples for label in sample} | ADDED
            assert matched <= known, f"{where}: {name} has no label {matched - known}"
            labels |= known
        assert grouped_by(query) <= labels, f"{where}: {grouped_by(query) - labels}"


def test_everything_that_is_exported_is_on_the_dashboard(watched: Watched) -> None:
    shown = {name for _, query in queries() for name, _ in asked_for(query)}
    for port in ("worker", "web"):
        for family in prometheus(watched.get(port)[2]):
            if family.name.startswith("mesh_") and not family.name.endswith("_created"):
                forms = {family.name + end for end in ("", "_total", "_bucket", "_count")}
                assert forms & shown, f"nobody looks at {family.name}"


def test_panels_are_laid_out_without_overlaps_and_have_their_legend() -> None:
    dashboard = json.loads((FILES / "dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel.get("targets", ()):
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            # A legend names what the query keeps apart: what it groups by, or a process.
            assert shown <= grouped_by(target["expr"]) | {"instance"}, panel["title"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    rules = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "do"}
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert named <= grouped_by(rule["expr"]) | {"instance"}, rule["alert"]


# Probes


def test_the_worker_tells_an_orchestrator_how_it_is_without_a_token(watched: Watched) -> None:
    for path, says in (("/health/live", "alive"), ("/health/ready", "ready")):
        status, kind, text = watched.get("worker", path, token=None)
        assert (status, json.loads(text)) == (200, {"status": says})
        assert kind.startswith("application/json")


# Traces and log lines


def ended(trace: list[Span]) -> bool:
    return {"POST /api/chat", "response_aggregator"} <= {span.name for span in trace}


def test_a_turn_is_one_trace_from_the_request_to_the_reply(watched: Watched) -> None:
    turn = watched.turns[0]
    trace = watched.collector.trace(ended, mesh_turn=turn["message_id"])
    by_id = {span.id: span for span in trace}
    (root,) = (span for span in trace if not span.parent)
    assert (root.service, root.name) == ("mesh-web", "POST /api/chat")
    (hop,) = (span for span in trace if span.name == "response_aggregator")
    way = []
    while hop is not root:
        way.append(hop.name)
        hop = by_id[hop.parent]
    assert way[::-1] == turn["route"]
    asked = {span.name: by_id[span.parent].name for span in trace if span.name.startswith("ask")}
    assert asked["ask llm"] in ("intent_analyzer", "response_generator")
    assert asked["ask cache"] == "context_retriever"
    assert {span.service for span in trace} == {"mesh-web", "mesh-worker"}


def test_no_span_holds_what_customers_wrote(watched: Watched) -> None:
    for turn in watched.turns:
        watched.collector.trace(ended, mesh_turn=turn["message_id"])
    told = json.dumps([[s.name, s.status, s.attributes] for s in watched.collector.spans()])
    for private in (EMAIL, "example.com", "Tobias", "2671", "W7000201"):
        assert private not in told


def test_log_lines_are_objects_without_personal_data(watched: Watched) -> None:
    for part in ("worker", "web", "mocks"):
        lines = [line for line in watched.mesh.log(part).splitlines() if line]
        for line in map(json.loads, lines):
            assert line["process"] == part
            assert {"time", "level", "logger", "message"} <= set(line)
        assert EMAIL not in "".join(lines)
    text = watched.mesh.log("worker")
    assert "dead letter from mesh.sentiment_analyzer/0/" in text
    assert '"message": "[^Worker]: Ready"' in text
    assert "dagny.okafor" not in text
