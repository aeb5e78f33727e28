"""The graph of a mesh that really ran."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from streams.inspection.mesh import (
    GRAVE,
    KEPT,
    MOST,
    MeshObserver,
    MeshView,
    is_behind,
    next_turn,
)
from streams.inspection.overview import Observer
from tests.streams.inspection.stage import Stage
from tests.streams.small_mesh import settings_apart
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    settings = settings_apart(nats_url, tmp_path_factory.mktemp("stage"))
    async with Stage.set_up(settings) as stage:
        await stage.play("hello", "flaky", "broken", "doomed", "loop")
        await stage.play("hello")
        yield stage


async def seen(
    stage: Stage, when: Callable[[MeshView], bool], observer: MeshObserver | None = None
) -> MeshView:
    """Return the graph once it looks as `when` says."""
    observer = observer or MeshObserver(stage.client, stage.settings)
    overview = Observer(stage.client, stage.settings)

    async def fulfilled() -> MeshView | None:
        view = await observer.look(await overview.look())
        return view if when(view) else None

    found: MeshView = await until(fulfilled, "the graph looks so")
    return found


async def test_ways_are_those_that_turns_took_and_how_often(stage: Stage) -> None:
    view = await seen(stage, lambda view: view.turns >= 6)
    taken = {(edge.source, edge.target, edge.kind): edge.hops for edge in view.edges}
    assert taken == {
        ("customer", "conversation", "step"): 6,
        ("conversation", "sentiment_analyzer", "step"): 6,
        ("sentiment_analyzer", "sentiment_analyzer", "retry"): 2,
        ("sentiment_analyzer", "escalation_router", "failure"): 2,
        ("sentiment_analyzer", "response_generator", "step"): 1,
        ("sentiment_analyzer", "response_aggregator", "step"): 3,
        ("response_generator", "guardrail_validator", "step"): 2,
        ("guardrail_validator", "decision_router", "step"): 2,
        ("decision_router", "response_generator", "step"): 1,
        ("decision_router", "response_aggregator", "step"): 1,
        ("escalation_router", "response_aggregator", "step"): 1,
        ("escalation_router", "response_aggregator", "failure"): 1,
        ("escalation_router", GRAVE, "failure"): 1,
        ("response_aggregator", "customer", "step"): 6,
    }


async def test_rates_into_an_actor_add_up_to_what_came_to_its_mailbox(stage: Stage) -> None:
    view = await seen(stage, lambda view: view.turns >= 6)
    for node in view.nodes:
        into = sum(edge.per_minute for edge in view.edges if edge.target == node.name)
        assert into == pytest.approx(node.last_minute), node.name
    counted = {node.name: node.last_minute for node in view.nodes}
    assert counted["sentiment_analyzer"] == 8  # six turns, two further tries
    assert counted["intent_analyzer"] == 0


async def test_actors_show_times_tries_failures_and_lag(stage: Stage) -> None:
    view = await seen(stage, lambda view: view.turns >= 6)
    nodes = {node.name: node for node in view.nodes}
    analyzer = nodes["sentiment_analyzer"]
    assert (analyzer.hops, analyzer.retries, analyzer.failures) == (8, 2, 2)
    assert analyzer.worked is not None
    assert analyzer.waited is not None
    assert 0 <= analyzer.worked.p50 <= analyzer.worked.p95
    assert nodes["conversation"].waited is None  # nobody knows when the customer wrote
    assert nodes["intent_analyzer"].worked is None
    assert nodes[GRAVE].hops == 1
    assert list(nodes)[:2] == ["customer", "conversation"]


async def test_what_waits_shows_as_lag_while_it_waits(stage: Stage) -> None:
    def lag(view: MeshView) -> int:
        return next(node.lag or 0 for node in view.nodes if node.name == "sentiment_analyzer")

    observer = MeshObserver(stage.client, stage.settings)
    before = await seen(stage, lambda view: lag(view) == 0 and view.turns >= 6, observer)
    stage.release.clear()
    sessions = [secrets.token_hex(6) for _ in range(3)]
    for session in sessions:
        await stage.say("hold", session)
    await seen(stage, lambda view: lag(view) == 3, observer)
    stage.release.set()
    for session in sessions:
        await stage.replies(session, 1)
    ended = before.turns + len(sessions)
    await seen(stage, lambda view: lag(view) == 0 and view.turns == ended, observer)


async def test_a_further_look_reads_only_what_is_new_and_not_more_than_so_much(
    stage: Stage,
) -> None:
    observer = MeshObserver(stage.client, stage.settings)
    before = await seen(stage, lambda view: view.turns >= 6, observer)
    again = await seen(stage, lambda _: True, observer)
    assert again.turns == before.turns
    await asyncio.gather(*(stage.play("hello") for _ in range(MOST + 10)))
    whole = await seen(stage, lambda view: view.turns >= before.turns + MOST + 10)
    sampled = await seen(stage, lambda _: True, observer)
    assert sampled.turns == before.turns + MOST
    assert whole.turns <= KEPT


@pytest.mark.parametrize(
    ("lag", "last_minute", "behind"),
    [(0, 0, False), (9, 0, False), (10, 0, True), (50, 600, False), (51, 600, True)],
)
async def test_what_counts_as_behind(lag: int, last_minute: int, behind: bool) -> None:
    assert is_behind(lag, last_minute) is behind


async def test_the_next_turn_is_heard_of_from_its_first_hop_on(stage: Stage) -> None:
    async with next_turn(stage.client, stage.settings.prefix) as turn:
        session = await stage.play("hello")
        await stage.play("somebody else")
        assert await turn.session() == session
    assert [progress.actor for progress in turn.progress][:2] == [
        "conversation",
        "sentiment_analyzer",
    ]
    assert {progress.session_id for progress in turn.progress} == {session}


async def test_without_topics_there_is_no_graph(stage: Stage) -> None:
    bare = stage.settings.model_copy(update={"prefix": f"t{secrets.token_hex(4)}"})
    overview = await Observer(stage.client, bare).look()
    view = await MeshObserver(stage.client, bare).look(overview)
    assert (view.turns, view.edges) == (0, [])
    assert [node.name for node in view.nodes][:2] == ["customer", "conversation"]
