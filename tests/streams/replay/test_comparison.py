import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.message import Exchange, Failure, Hop, Message
from streams.payload import Json, Response
from streams.replay.comparison import ASPECTS, TurnComparison, compare, compare_hops
from tests.streams.replay.whole_turn import AT, FILLED, a_turn, edited, place_of
from tests.streams.test_message import messages

fewer = settings(max_examples=60)
Edit = Callable[[Json], Any]


def put(*path: Any, value: Any) -> Edit:
    """Return the edit that puts a value at a place of a hop's output."""

    def edit(added: Json) -> None:
        inner: Any = added
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value

    return edit


#: Every field that decides something: who fills it, another value, and the aspect it shows in.
DECISIONS: dict[str, tuple[str, Edit, str | None]] = {
    "label": ("sentiment_analyzer", put("sentiment", "label", value="neutral"), "sentiment"),
    "urgency": ("sentiment_analyzer", put("sentiment", "urgency", value="high"), "sentiment"),
    "complaint": ("sentiment_analyzer", put("sentiment", "complaint", value=True), "sentiment"),
    "cry for help": ("sentiment_analyzer", put("sentiment", "escalation", value=True), "sentiment"),
    "intent": ("intent_analyzer", put("intent", "name", value="other"), "intent"),
    "also": ("intent_analyzer", put("intent", "also", value=["complaint"]), "intent"),
    "yes or no": ("intent_analyzer", put("intent", "confirmation", value="no"), "intent"),
    "whose": ("context_retriever", put("context", "customer", "id", value="c2"), "context"),
    "focus": ("context_retriever", put("context", "focus", value=[]), "context"),
    "foreign": ("context_retriever", put("context", "foreign", value=[]), "context"),
    "actions": ("decision_router", put("plan", "actions", value=[]), "plan"),
    "kind": ("decision_router", put("plan", "actions", 0, "kind", value="redeliver"), "plan"),
    "order": ("decision_router", put("plan", "actions", 0, "order_id", value="#W2"), "plan"),
    "amount": (
        "decision_router",
        put("plan", "actions", 0, "arguments", "amount", value=20),
        "plan",
    ),
    "to confirm": (
        "decision_router",
        lambda added: added["plan"].update(confirm=added["plan"]["actions"]),
        "plan",
    ),
    "ask": ("decision_router", put("plan", "ask", value="Which one?"), "plan"),
    "escalate": ("decision_router", put("plan", "escalate", value="angry"), "plan"),
    "done": ("execution_coordinator", put("execution", "results", value=[]), "actions"),
    "ok": ("execution_coordinator", put("execution", "results", 0, "ok", value=False), "actions"),
    "what came of it": (
        "execution_coordinator",
        put("execution", "results", 0, "detail", "refund_amount", value=1),
        "actions",
    ),
    "no ticket": (
        "execution_coordinator",
        put("execution", "results", 0, "detail", "ticket", value=None),
        "actions",
    ),
    "other words": (
        "response_generator",
        put("response", "text", value="Please wait a little."),
        "reply",
    ),
    "other figures": (
        "response_generator",
        lambda added: added["response"].update(
            text=added["response"]["text"].replace("19.50", "91.50")
        ),
        "reply",
    ),
    "passed": ("guardrail_validator", put("guardrail", "passed", value=False), "guardrail"),
    "one check": (
        "guardrail_validator",
        put("guardrail", "verdicts", 1, "passed", value=False),
        "guardrail",
    ),
    "way out": ("escalation_router", put("escalation", "kind", value="fallback"), "escalation"),
    "handover's ticket": (
        "escalation_router",
        put("escalation", "ticket", value=None),
        "escalation",
    ),
    "what waits for a yes": ("conversation", put("awaiting", value=[]), None),
    "what we do not know": ("conversation", put("weather", value="rain"), None),
}

#: What only details a decision: its place, and the aspect it shows in.
DETAILS: dict[str, tuple[str, Edit, str | None]] = {
    "history": ("conversation", put("history", 1, "text", value="Refund?"), None),
    "score": ("sentiment_analyzer", put("sentiment", "score", value=-0.5), "sentiment"),
    "confidence": ("intent_analyzer", put("intent", "confidence", value=0.8), "intent"),
    "order of wishes": (
        "intent_analyzer",
        lambda added: added["intent"]["also"].reverse(),
        "intent",
    ),
    "orders": ("context_retriever", put("context", "orders", value=[]), "context"),
    "missing": ("context_retriever", put("context", "missing", value=[]), "context"),
    "action in words": ("decision_router", put("plan", "actions", 0, "text", value="pay"), "plan"),
    "reasons": ("decision_router", put("plan", "reasons", value=[]), "plan"),
    "balance": (
        "execution_coordinator",
        put("execution", "results", 0, "detail", "balance", value=9),
        "actions",
    ),
    "a word": (
        "response_generator",
        lambda added: added["response"].update(
            text=added["response"]["text"].replace("five", "a few")
        ),
        "reply",
    ),
    "why not": (
        "guardrail_validator",
        put("guardrail", "verdicts", 1, "reason", value="kind"),
        "guardrail",
    ),
    "summary": ("escalation_router", put("escalation", "summary", value="more"), "escalation"),
}

#: What differs between two runs of the same code.
VOLATILE: dict[str, tuple[str, Edit]] = {
    "when the bot said it": ("conversation", put("history", 1, "at", value="2026-04-01T00:00:00Z")),
    "ids of actions": ("conversation", put("awaiting", 0, "id", value="another")),
    "keys": (
        "execution_coordinator",
        put("execution", "results", 0, "idempotency_key", value="another"),
    ),
    "the shop's names": (
        "execution_coordinator",
        put("execution", "results", 0, "detail", "ticket", value="T-9"),
    ),
    "known already": (
        "execution_coordinator",
        put("execution", "results", 0, "detail", "repeated", value=True),
    ),
    "the handover's ticket": ("escalation_router", put("escalation", "ticket", value="T-99")),
    "what the cache had": ("context_retriever", put("context", "cached", value=[])),
    "order of what is missing": (
        "context_retriever",
        lambda added: added["context"]["missing"].reverse(),
    ),
    "order of checks": (
        "guardrail_validator",
        lambda added: added["guardrail"]["verdicts"].reverse(),
    ),
}


def verdicts(comparison: TurnComparison) -> dict[str, str]:
    return {aspect: one.verdict for aspect, one in comparison.aspects.items()}


def test_a_turn_is_the_same_as_itself() -> None:
    comparison = compare(a_turn(), a_turn())

    assert comparison.verdict == "same"
    assert verdicts(comparison) == dict.fromkeys(ASPECTS, "same")
    assert comparison.diverging is None
    assert not comparison.changed
    assert comparison.aspects["reply"].score == 1
    assert comparison.recorded == comparison.replayed
    assert comparison.recorded.model_dump() == {"work_ms": 100, "cost_usd": 1, "tokens": 5}


@pytest.mark.parametrize("name", DECISIONS)
def test_another_decision_is_found_where_it_was_made(name: str) -> None:
    actor, edit, aspect = DECISIONS[name]
    place = place_of(actor)

    comparison = compare(a_turn(), edited(a_turn(), place, edit))

    assert comparison.verdict == "different"
    if aspect is not None:
        assert verdicts(comparison)[aspect] == "different"
    assert comparison.diverging is not None
    assert comparison.diverging.actor == actor
    assert comparison.diverging.recorded == comparison.diverging.replayed == place
    assert comparison.diverging.verdict == "different"
    assert comparison.diverging.changes


@pytest.mark.parametrize("name", DETAILS)
def test_another_detail_is_similar(name: str) -> None:
    actor, edit, aspect = DETAILS[name]

    comparison = compare(a_turn(), edited(a_turn(), place_of(actor), edit))

    assert comparison.verdict == "similar"
    if aspect is not None:
        assert verdicts(comparison)[aspect] == "similar"
    assert comparison.diverging is not None
    assert comparison.diverging.actor == actor
    assert comparison.diverging.verdict == "similar"


@pytest.mark.parametrize("name", VOLATILE)
def test_what_varies_by_itself_does_not_count(name: str) -> None:
    actor, edit = VOLATILE[name]

    comparison = compare(a_turn(), edited(a_turn(), place_of(actor), edit))

    assert comparison.verdict == "same"
    assert comparison.diverging is None


@fewer
@given(st.integers(0, 2**32))
def test_times_notes_and_versions_do_not_count(seed: int) -> None:
    drawn = random.Random(seed)
    later = a_turn()
    for hop in later.trace:
        hop.started_at += timedelta(seconds=drawn.random() * 1e6)
        hop.duration_ms = drawn.random() * 1e4
        hop.notes = [str(drawn.random())]
        hop.code = str(drawn.random())
        drawn.shuffle(hop.exchanges)
        for exchange in hop.exchanges:
            exchange.duration_ms = drawn.random()

    assert compare(a_turn(), later).verdict == "same"


@fewer
@given(
    st.lists(st.sampled_from(sorted(DECISIONS)), min_size=1, max_size=4),
    st.lists(st.sampled_from(sorted(VOLATILE)), max_size=4),
)
def test_the_first_of_several_leads(decisions: list[str], volatile: list[str]) -> None:
    turn = a_turn()
    for name in volatile:
        actor, edit = VOLATILE[name]
        turn = edited(turn, place_of(actor), edit)
    for name in sorted(decisions, key=lambda name: "ticket" not in name):
        actor, edit, _ = DECISIONS[name]
        try:
            turn = edited(turn, place_of(actor), edit)
        except IndexError:
            continue  # an edit before has emptied the list

    comparison = compare(a_turn(), turn)

    first = min(place_of(DECISIONS[name][0]) for name in decisions)
    assert comparison.verdict == "different"
    assert comparison.diverging is not None
    assert comparison.diverging.recorded == first


@fewer
@given(st.integers(0, len(FILLED) - 1), st.sampled_from(["done", "rerouted", "retry", "failed"]))
def test_another_outcome_of_a_hop_is_another_route(place: int, outcome: Any) -> None:
    turn = a_turn()
    turn.trace[place].outcome = outcome
    comparison = compare(a_turn(), turn)

    if outcome in ("done", "rerouted"):  # where it led is told by the hop behind it
        assert comparison.verdict == "same"
    else:
        assert comparison.verdict in ("different", "failed")
        assert comparison.diverging is not None
        assert comparison.diverging.recorded == place


@fewer
@given(st.integers(0, len(FILLED) - 2))
def test_a_hop_left_out_leads(place: int) -> None:
    turn = a_turn()
    del turn.trace[place]

    comparison = compare(a_turn(), turn)

    assert comparison.verdict == "different"
    assert verdicts(comparison)["route"] == "different"
    assert comparison.diverging is not None
    assert (comparison.diverging.recorded, comparison.diverging.verdict) == (place, "not made")


@fewer
@given(st.integers(0, len(FILLED) - 1))
def test_a_hop_more_is_not_recorded_and_the_route_another(place: int) -> None:
    turn = a_turn()
    turn.trace.insert(place, Hop(actor="newcomer", started_at=AT))

    comparison = compare(a_turn(), turn)

    assert comparison.verdict == "different"
    assert comparison.diverging is not None
    assert comparison.diverging.actor == "newcomer"
    assert comparison.diverging.verdict == "not recorded"
    assert [hop.verdict for hop in compare_hops(a_turn(), turn)].count("same") == len(FILLED)


def unanswered(turn: Message, actor: str) -> Message:
    turn.trace[place_of(actor)].exchanges.append(
        Exchange(
            target="llm",
            request={"model": "m", "messages": ["a new prompt"]},
            error="NotRecorded: the recording has no answer to this",
            duration_ms=0,
        )
    )
    return turn


def test_what_follows_from_an_answer_that_was_not_recorded_is_not_recorded() -> None:
    turn = edited(
        a_turn(), place_of("response_generator"), put("response", "text", value="A template.")
    )
    comparison = compare(a_turn(), unanswered(turn, "response_generator"))

    assert comparison.verdict == "not recorded"
    assert comparison.reason == "response_generator asked what was not recorded: llm"
    assert verdicts(comparison) == {
        "route": "not recorded",
        "intent": "same",
        "sentiment": "same",
        "context": "same",
        "plan": "same",
        "actions": "same",
        "guardrail": "not recorded",
        "escalation": "not recorded",
        "outcome": "not recorded",
        "reply": "not recorded",
    }
    assert comparison.diverging is not None
    assert comparison.diverging.actor == "response_generator"
    assert comparison.diverging.verdict == "not recorded"
    assert [question.kind for question in comparison.diverging.questions] == ["not recorded"]


def test_a_decision_before_a_missing_answer_is_another_one_all_the_same() -> None:
    turn = edited(a_turn(), place_of("intent_analyzer"), put("intent", "name", value="other"))
    comparison = compare(a_turn(), unanswered(turn, "response_generator"))

    assert comparison.verdict == "different"
    assert verdicts(comparison)["intent"] == "different"
    assert verdicts(comparison)["reply"] == "not recorded"
    assert comparison.diverging is not None
    assert comparison.diverging.actor == "intent_analyzer"


@fewer
@given(st.integers(0, len(FILLED) - 1), st.sampled_from(sorted(DECISIONS)))
def test_nothing_behind_a_missing_answer_is_the_same_or_different(place: int, name: str) -> None:
    actor, edit, aspect = DECISIONS[name]
    turn = edited(a_turn(), place_of(actor), edit)
    missing = unanswered(turn, list(FILLED)[place])

    comparison = compare(a_turn(), missing)

    expected = "not recorded" if place <= place_of(actor) else "different"
    assert comparison.verdict == expected
    if aspect is not None:
        assert verdicts(comparison)[aspect] == expected
    hops = compare_hops(a_turn(), missing)
    assert {hop.verdict for hop in hops[place:]} == {"not recorded"}


def test_a_look_into_the_cache_that_was_not_recorded_is_a_miss() -> None:
    turn = a_turn()
    turn.trace[3].exchanges[0].error = "NotRecorded: no such look"

    assert compare(a_turn(), turn).verdict == "same"


@fewer
@given(st.integers(1, len(FILLED) - 1))
def test_what_a_cut_recording_lacks_is_not_recorded(length: int) -> None:
    cut = a_turn()
    cut.trace = cut.trace[:length]

    comparison = compare(cut, a_turn())

    assert comparison.verdict == "not recorded"
    assert comparison.reason == f"the recording ends behind {list(FILLED)[length - 1]}"
    assert verdicts(comparison)["route"] == "not recorded"
    assert verdicts(comparison)["outcome"] == "not recorded"
    assert comparison.diverging is not None
    assert comparison.diverging.replayed == length
    assert comparison.diverging.verdict == "not recorded"


def test_of_words_from_elsewhere_only_the_answer_is_compared() -> None:
    known = a_turn()
    known.trace = []
    for slot in ("sentiment", "intent", "context", "plan", "execution", "guardrail", "escalation"):
        setattr(known.payload, slot, None)
    known.payload.response = Response(text=a_turn().payload.response.text, source="human")  # type: ignore[union-attr]

    comparison = compare(known, a_turn())

    assert comparison.verdict == "not recorded"
    assert comparison.reason == "nothing of this turn was recorded but its words"
    assert verdicts(comparison) == {**dict.fromkeys(ASPECTS, "not recorded"), "reply": "same"}
    assert comparison.intent == "refund_status"
    assert comparison.recorded.work_ms is None

    known.payload.response = None
    assert verdicts(compare(known, a_turn()))["reply"] == "not recorded"


def test_a_turn_that_never_ended_failed() -> None:
    comparison = compare(a_turn(), None, failure="no answer within 30 s")

    assert comparison.verdict == "failed"
    assert comparison.reason == "no answer within 30 s"
    assert comparison.aspects == {}
    assert compare(a_turn(), None).reason == "the turn did not come to its end"


def dead(turn: Message) -> Message:
    turn.trace[-2].outcome = "failed"
    turn.error = Failure(actor="escalation_router", kind="Boom", text="it broke", at=AT)
    return turn


def test_a_turn_that_went_to_the_dead_letters_failed_unless_it_did_before() -> None:
    comparison = compare(a_turn(), dead(a_turn()))

    assert comparison.verdict == "failed"
    assert comparison.reason == (
        "the turn went to the dead letters: escalation_router: Boom: it broke"
    )
    assert compare(dead(a_turn()), dead(a_turn())).verdict == "same"
    # It may have died of the answer that it did not get.
    assert compare(a_turn(), unanswered(dead(a_turn()), "decision_router")).verdict == (
        "not recorded"
    )


def test_another_prompt_with_the_same_answer_is_the_same_and_is_told() -> None:
    turn = a_turn()
    turn.trace[2].exchanges[0].request = {"model": "m", "messages": ["a new prompt"]}

    comparison = compare(a_turn(), turn)

    assert comparison.verdict == "same"
    assert comparison.diverging is not None
    assert comparison.diverging.actor == "intent_analyzer"
    assert [q.kind for q in comparison.diverging.questions] == ["asked", "not asked"]


def test_who_only_reads_may_find_it_in_the_cache() -> None:
    turn = a_turn()
    turn.trace[3].exchanges = []

    assert compare(a_turn(), turn).diverging is None


def test_an_older_recording_lacks_newer_fields() -> None:
    older = a_turn()
    del older.trace[2].added["intent"]["source"]
    older.trace[4].added["plan"].pop("confirm")
    newer = edited(a_turn(), 2, put("intent", "source", value="rules"))

    assert compare_hops(older, newer)[2].verdict == "same"


def test_a_foreign_shape_is_compared_as_it_is() -> None:
    odd = a_turn()
    odd.trace[4].added = {"plan": "whatever"}

    comparison = compare(odd, a_turn())

    assert comparison.verdict == "different"
    assert comparison.diverging is not None
    assert comparison.diverging.changes[0].path == "plan"
    assert compare(odd, odd).verdict == "same"


def test_the_same_action_of_another_session_has_another_id() -> None:
    turn = edited(a_turn(), 4, put("plan", "actions", 0, "id", value="s2-m1-1"))
    turn = edited(turn, 5, put("execution", "results", 0, "action_id", value="s2-m1-1"))

    comparison = compare(a_turn(), turn)

    assert comparison.verdict == "same"
    assert comparison.aspects["actions"].recorded[0]["arguments"] == {"amount": 19.5}


def test_a_comparison_survives_json() -> None:
    comparison = compare(a_turn(), edited(a_turn(), 2, put("intent", "name", value="other")))

    assert TurnComparison.model_validate_json(comparison.model_dump_json()) == comparison


@given(messages, messages)
def test_whatever_a_recording_holds_is_compared(one: Message, other: Message) -> None:
    comparison = compare(one, other)

    assert TurnComparison.model_validate_json(comparison.model_dump_json()) == comparison
    assert compare(one, one).verdict in ("same", "not recorded")
    assert len(compare_hops(one, other)) >= max(len(one.trace), len(other.trace))
