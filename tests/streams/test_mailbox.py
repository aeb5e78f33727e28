import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from streams import slip
from streams.dead_letters import ORIGIN, REASON
from streams.errors import ShopUnavailable
from streams.mailbox import APOLOGY, Work
from streams.message import Message
from streams.payload import Payload, Sentiment
from streams.settings import Settings
from streams.slip import HOP_LIMIT
from streams.trace import exchange, note
from streams.version import code_version
from tests.streams.actors import ENDING, NOW, Bench, apologise, open_bench, pass_on, turn
from tests.waiting import until

OpenBench = Callable[[dict[str, Work]], AbstractAsyncContextManager[Bench]]


@pytest.fixture
def bench(nats_url: str, prefix: str, tmp_path: Path) -> OpenBench:
    settings = Settings(
        broker_url=nats_url, prefix=prefix, data_dir=tmp_path, retry_delay=0.01, partitions=2
    )
    return lambda actors: open_bench(settings, actors)


async def test_a_message_follows_its_slip_to_the_journal(bench: OpenBench) -> None:
    async def analyze(message: Message) -> Message:
        note("looked at the words")
        async with exchange("llm", {"prompt": "mood?"}) as answer:
            answer.response = "fine"
        message.payload.sentiment = Sentiment(label="positive", score=1)
        return message

    steps = (slip.SENTIMENT_ANALYZER, slip.CONTEXT_RETRIEVER, slip.RESPONSE_AGGREGATOR)
    actors = {slip.SENTIMENT_ANALYZER: analyze, slip.CONTEXT_RETRIEVER: pass_on, **ENDING}
    async with bench(actors) as mesh:
        await mesh.mesh.send(turn(*steps))
        (ended,) = await mesh.journal()
        for actor in (hop.actor for hop in ended.trace):
            assert mesh.counted("mesh_hops_total", actor=actor, outcome="done") == 1
            assert mesh.counted("mesh_hop_seconds_count", actor=actor) == 1
            assert mesh.counted("mesh_wait_seconds_count", actor=actor) == 1
        assert mesh.counted("mesh_turn_seconds_count", state="failed") == 1  # it has no response
    assert ended.slip.done == steps
    assert ended.slip.next() is None
    assert [hop.actor for hop in ended.trace] == [
        "sentiment_analyzer",
        "context_retriever",
        "response_aggregator",
    ]
    hop = ended.trace[0]
    assert hop.added["sentiment"]["label"] == "positive"
    assert hop.notes == ["looked at the words"]
    assert [(e.target, e.response) for e in hop.exchanges] == [("llm", "fine")]
    assert ended.trace[1].added == {}
    assert all(hop.outcome == "done" and hop.duration_ms >= 0 for hop in ended.trace)
    assert {hop.code for hop in ended.trace} == {code_version()}


async def test_a_router_rewrites_the_slip_and_the_message_goes_where_it_says(
    bench: OpenBench,
) -> None:
    async def route(message: Message) -> Message:
        message.slip = message.slip.reroute((slip.GUARDRAIL_VALIDATOR, slip.RESPONSE_AGGREGATOR))
        return message

    actors = {slip.DECISION_ROUTER: route, slip.GUARDRAIL_VALIDATOR: pass_on, **ENDING}
    async with bench(actors) as mesh:
        await mesh.mesh.send(turn(slip.DECISION_ROUTER, slip.CONVERSATION))
        (ended,) = await mesh.journal()
    assert [hop.actor for hop in ended.trace] == [
        "decision_router",
        "guardrail_validator",
        "response_aggregator",
    ]
    assert ended.trace[0].outcome == "rerouted"


async def test_a_failure_that_may_pass_is_retried_and_counted_in_the_message(
    bench: OpenBench,
) -> None:
    seen: list[int] = []

    async def flaky(message: Message) -> Message:
        seen.append(message.recovery.attempts.get("context_retriever", 0))
        message.payload.sentiment = Sentiment(label="negative", score=-1)
        if len(seen) < 3:
            raise ShopUnavailable("orders: no answer")
        assert message.recovery.not_before is not None
        return message

    async with bench({slip.CONTEXT_RETRIEVER: flaky, **ENDING}) as mesh:
        await mesh.mesh.send(turn(slip.CONTEXT_RETRIEVER, slip.RESPONSE_AGGREGATOR))
        (ended,) = await mesh.journal()
        actor = "context_retriever"
        assert mesh.counted("mesh_hops_total", actor=actor, outcome="retry") == 2
        assert mesh.counted("mesh_hops_total", actor=actor, outcome="done") == 1
        assert mesh.counted("mesh_errors_total", actor=actor, kind="ShopUnavailable") == 2
    assert seen == [0, 1, 2]
    assert [hop.outcome for hop in ended.trace] == ["retry", "retry", "done", "done"]
    assert "orders: no answer" in ended.trace[0].notes[0]
    assert ended.error is None
    assert ended.recovery.not_before is None
    assert ended.slip.done == (slip.CONTEXT_RETRIEVER, slip.RESPONSE_AGGREGATOR)


async def test_retries_end_and_the_message_turns_to_on_error(bench: OpenBench) -> None:
    """Known fault: a failing message came back for ever, its count lived in memory."""
    tries = 0

    async def broken(message: Message) -> Message:
        nonlocal tries
        tries += 1
        raise ShopUnavailable("orders: no answer")

    async with bench({slip.CONTEXT_RETRIEVER: broken, **ENDING}) as mesh:
        await mesh.mesh.send(turn(slip.CONTEXT_RETRIEVER, slip.DECISION_ROUTER))
        (ended,) = await mesh.journal()
        assert tries == mesh.mesh.settings.retries + 1
    assert ended.error is not None
    assert (ended.error.actor, ended.error.kind) == ("context_retriever", "ShopUnavailable")
    assert ended.payload.response is not None
    assert ended.payload.response.text == "sorry: orders: no answer"
    assert [hop.actor for hop in ended.trace[-2:]] == ["escalation_router", "response_aggregator"]


async def test_a_bug_is_not_retried_and_leaves_no_half_done_work(bench: OpenBench) -> None:
    async def buggy(message: Message) -> Message:
        message.payload.sentiment = Sentiment(label="negative", score=-1)
        raise KeyError("oops")

    async with bench({slip.SENTIMENT_ANALYZER: buggy, **ENDING}) as mesh:
        await mesh.mesh.send(turn(slip.SENTIMENT_ANALYZER))
        (ended,) = await mesh.journal()
    assert ended.error is not None
    assert ended.error.kind == "KeyError"
    assert ended.payload.sentiment is None
    assert ended.trace[0].outcome == "failed"


async def test_a_subject_that_no_mailbox_owns_is_the_actors_failure(bench: OpenBench) -> None:
    async with bench({slip.DECISION_ROUTER: pass_on, **ENDING}) as mesh:
        await mesh.mesh.send(turn(slip.DECISION_ROUTER, "mesh.nobody"))
        (ended,) = await mesh.journal()
    assert ended.error is not None
    assert ended.error.kind == "UnknownSubject"
    assert "mesh.nobody" in ended.error.text


async def test_an_on_error_that_nobody_owns_ends_in_the_dead_letters_and_an_apology(
    bench: OpenBench,
) -> None:
    async def broken(message: Message) -> Message:
        raise KeyError("oops")

    async with bench({slip.DECISION_ROUTER: broken, **ENDING}) as mesh:
        await mesh.mesh.send(turn(slip.DECISION_ROUTER, on_error="mesh.nobody"))
        (ended,) = await mesh.journal()
        (letter,) = await mesh.dead_letters()
    assert ended.payload.response is not None
    assert ended.payload.response.text == APOLOGY
    assert b"oops" in dict(letter.headers)[REASON]
    # What the mailbox gave in the actor's place is told like any other hop's work.
    assert ended.trace[0].added["response"]["text"] == APOLOGY
    assert ended.trace[0].added["escalation"]["kind"] == "fallback"


async def test_an_exit_that_fails_for_good_ends_in_the_dead_letters_and_goes_round_no_more(
    bench: OpenBench,
) -> None:
    tries = 0

    async def broken(message: Message) -> Message:
        nonlocal tries
        tries += 1
        raise KeyError("oops")

    actors: dict[str, Work] = {
        slip.ESCALATION_ROUTER: apologise,
        slip.RESPONSE_AGGREGATOR: broken,
    }
    async with bench(actors) as mesh:
        await mesh.mesh.send(turn(slip.RESPONSE_AGGREGATOR))
        (letter,) = await mesh.dead_letters()
        await mesh.mesh.send(turn(slip.RESPONSE_AGGREGATOR))
        await mesh.dead_letters(2)
        assert tries == 2
        actor = "response_aggregator"
        assert mesh.counted("mesh_hops_total", actor=actor, outcome="failed") == 2
        assert mesh.counted("mesh_dead_letters_total", actor=actor, reason="failed") == 2
    assert b"oops" in dict(letter.headers)[REASON]


async def test_past_the_hop_limit_a_message_goes_to_the_dead_letters_not_round_again(
    bench: OpenBench,
) -> None:
    async def again(message: Message) -> Message:
        message.slip = message.slip.insert((slip.DECISION_ROUTER,))
        return message

    async with bench({slip.DECISION_ROUTER: again, **ENDING}) as mesh:
        await mesh.mesh.send(turn(slip.DECISION_ROUTER))
        (ended,) = await mesh.journal()
        (letter,) = await mesh.dead_letters()
    buried = Message.decode(letter.value)
    assert len(buried.slip.done) == HOP_LIMIT
    assert b"HopLimitExceeded" in dict(letter.headers)[REASON]
    assert ended.payload.response is not None
    assert ended.payload.response.text == APOLOGY
    assert ended.trace[-1].actor == "response_aggregator"


@pytest.mark.parametrize(
    "data", [b"not json", b"", b'{"version":1}', b"\xff\xfe", b'{"version": 99}', b"[1,2]"]
)
async def test_an_undecodable_record_is_kept_with_its_bytes_and_the_next_one_is_worked_on(
    bench: OpenBench, data: bytes
) -> None:
    async with bench({slip.SENTIMENT_ANALYZER: pass_on, **ENDING}) as mesh:
        topic = mesh.mesh.topics[slip.SENTIMENT_ANALYZER]
        raw = mesh.mesh.app.topic(
            topic.get_topic_name(), key_serializer="raw", value_serializer="raw"
        )
        await raw.send(key=b"s1", value=data, headers={"X-From": b"a test", "bin": b"\x00\xff"})
        await mesh.mesh.send(turn(slip.SENTIMENT_ANALYZER, slip.RESPONSE_AGGREGATOR))
        (letter,) = await mesh.dead_letters()
        await mesh.journal()
        buried = {"actor": "sentiment_analyzer", "reason": "unreadable"}
        assert mesh.counted("mesh_dead_letters_total", **buried) == 1
    headers = dict(letter.headers)
    assert letter.value == data
    assert letter.key == b"s1"
    assert headers["X-From"] == b"a test"
    assert headers["bin"] == b"\x00\xff"
    assert headers[ORIGIN].startswith(b"mesh.sentiment_analyzer/")
    assert headers[REASON]


async def test_a_tombstone_is_not_a_message(bench: OpenBench) -> None:
    async with bench({slip.SENTIMENT_ANALYZER: pass_on, **ENDING}) as mesh:
        raw = mesh.mesh.app.topic(
            slip.SENTIMENT_ANALYZER, key_serializer="raw", value_serializer="raw"
        )
        await raw.send(key=b"s1", value=None)
        (letter,) = await mesh.dead_letters()
    assert letter.value is None


async def test_a_message_in_the_wrong_mailbox_is_not_worked_on(bench: OpenBench) -> None:
    worked = []

    async def work(message: Message) -> Message:
        worked.append(message.id)
        return message

    async with bench({slip.SENTIMENT_ANALYZER: work, **ENDING}) as mesh:
        stray = turn(slip.INTENT_ANALYZER)
        await mesh.mesh.topics[slip.SENTIMENT_ANALYZER].send(key=b"s1", value=stray)
        (letter,) = await mesh.dead_letters()
        buried = {"actor": "sentiment_analyzer", "reason": "misaddressed"}
        assert mesh.counted("mesh_dead_letters_total", **buried) == 1
    assert worked == []
    assert b"mesh.intent_analyzer" in dict(letter.headers)[REASON]


async def test_what_an_actor_holds_back_is_not_sent_on(bench: OpenBench) -> None:
    held = asyncio.Event()

    async def hold(message: Message) -> Message | None:
        if message.payload.text == "hello":
            held.set()
            return None
        return message

    async with bench({slip.CONVERSATION: hold, **ENDING}) as mesh:
        await mesh.mesh.send(turn(slip.CONVERSATION, slip.RESPONSE_AGGREGATOR))
        await until(held.is_set)
        other = turn(slip.CONVERSATION, slip.RESPONSE_AGGREGATOR)
        other.payload = Payload(text="other", at=NOW)
        await mesh.mesh.send(other)
        (ended,) = await mesh.journal()
        assert mesh.counted("mesh_hops_total", actor="conversation", outcome="held") == 1
    assert ended.id == other.id


async def test_a_slow_turn_does_not_hold_up_those_behind_it(bench: OpenBench) -> None:
    release = asyncio.Event()

    async def sometimes_slow(message: Message) -> Message:
        if message.payload.text == "hello":
            await release.wait()
        return message

    async with bench({slip.CONTEXT_RETRIEVER: sometimes_slow, **ENDING}) as mesh:
        steps = (slip.CONTEXT_RETRIEVER, slip.RESPONSE_AGGREGATOR)
        slow, quick = turn(*steps), turn(*steps)
        quick.payload = Payload(text="quick", at=NOW)
        await mesh.mesh.send(slow)
        await mesh.mesh.send(quick)
        (first,) = await mesh.journal()
        assert first.id == quick.id
        release.set()
        assert {m.id for m in await mesh.journal(2)} == {slow.id, quick.id}
