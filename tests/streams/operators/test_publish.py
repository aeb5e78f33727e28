import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from streams import slip
from streams.masking import mask
from streams.message import BY_HAND, ByHand, Hop, Message, Recovery
from streams.operators.audit import entries
from streams.operators.draft import BadDraft
from streams.operators.publish import NoRecord, blank, copied, new_id, publish, reply_to, sealed
from streams.payload import Response
from streams.post import put
from streams.settings import Settings
from streams.slip import RouteSlip
from streams.topics import JOURNAL
from tests.faust_apps import records
from tests.streams.operators.letters import NOW, bury, turn


@pytest.fixture
def settings(nats_url: str, prefix: str, tmp_path: Path) -> Settings:
    return Settings(broker_url=nats_url, prefix=prefix, data_dir=tmp_path, partitions=2)


def text(document: dict[str, Any] | None = None, said: str = "hello", **changed: Any) -> str:
    document = document or blank()
    document["payload"]["text"] = said
    return json.dumps(document | changed)


def test_a_blank_message_wants_only_words() -> None:
    with pytest.raises(BadDraft, match=r"payload\.text: says nothing"):
        sealed(json.dumps(blank()), "ines", NOW)
    message = sealed(text(), "ines", NOW)
    assert message.slip == RouteSlip()
    assert blank()["id"] != message.id != new_id()


def test_a_masked_copy_is_not_taken_for_the_customers_address() -> None:
    document = blank()
    document["payload"]["email"] = "ines@example.com"
    assert sealed(text(document), "ines", NOW).payload.email == "ines@example.com"
    with pytest.raises(BadDraft, match=r"payload\.email: is masked"):
        sealed(text(mask(document)), "ines", NOW)


def test_what_is_made_by_hand_says_so_whatever_it_claims() -> None:
    claimed = turn(
        trace=[Hop(actor="x", started_at=NOW)],
        slip=RouteSlip(steps=(slip.INTENT_ANALYZER,), done=(slip.CONVERSATION,)),
        recovery=Recovery(guardrail_rounds=2),
        by_hand=[ByHand(kind="redriven", operator="nobody", at=NOW, letter=3)],
    )
    message = sealed(claimed.encode().decode(), "ines", NOW)
    assert message.by_hand == [ByHand(kind="published", operator="ines", at=NOW)]
    assert (message.payload.channel, message.run) == ("operator", "t1")
    assert (message.trace, message.recovery, message.slip.done) == ([], Recovery(), ())
    assert message.slip.steps == (slip.INTENT_ANALYZER,)


async def test_a_message_is_put_into_any_mailbox_once_and_audited(
    settings: Settings, client: Client
) -> None:
    document = blank() | {"slip": {"steps": [slip.RESPONSE_GENERATOR, slip.RESPONSE_AGGREGATOR]}}
    first = await publish(client, settings, "Änne", text(document))
    again = await publish(client, settings, "Änne", text(document))
    assert (first.topic, first.repeated, again.repeated) == (slip.RESPONSE_GENERATOR, False, True)
    (record,) = await records(settings.broker_url, settings.prefix, slip.RESPONSE_GENERATOR)
    assert (record.offset, record.key) == (first.offset, document["session_id"].encode())
    assert dict(record.headers)[BY_HAND].decode() == "Änne"
    assert Message.decode(record.value or b"") == first.message
    audit = await entries(client, settings)
    assert [(entry.operator, entry.action) for entry in audit] == [("Änne", "publish")] * 2
    assert "hello" not in audit[0].model_dump_json()


async def test_what_is_no_message_is_neither_sent_nor_audited(
    settings: Settings, client: Client
) -> None:
    for bad in ("{}", text(slip={"steps": ["mesh.journal"]}), text(id="not an id")):
        with pytest.raises(BadDraft):
            await publish(client, settings, "ines", bad)
    assert await entries(client, settings) == []


async def test_a_copy_goes_on_from_where_it_was_or_begins_anew(
    settings: Settings, client: Client
) -> None:
    there = turn(slip=RouteSlip(steps=(slip.DECISION_ROUTER,), done=slip.NEW_TURN[:4]))
    there.payload.response = Response(text="so far", source="template")
    ended = turn("t9", slip=RouteSlip(steps=()))
    ended.payload.response = Response(text="done", source="template")
    places = {}
    for topic, message in ((slip.DECISION_ROUTER, there), (JOURNAL, ended)):
        stored = await put(
            client, settings, topic, key=b"s1", value=message.encode(), message_id=topic
        )
        places[topic] = stored.offset
    on = await copied(client, settings, slip.DECISION_ROUTER, places[slip.DECISION_ROUTER])
    assert (on["session_id"], on["slip"]["steps"]) == ("s1", [slip.DECISION_ROUTER])
    assert on["payload"]["response"]["text"] == "so far"
    assert on["id"] != "t1"
    anew = await copied(client, settings, JOURNAL, places[JOURNAL])
    assert anew["slip"]["steps"] == list(slip.NEW_TURN)
    assert set(anew["payload"]) == {"text", "email", "at", "channel"}
    sealed(json.dumps(on), "ines", NOW)
    sealed(json.dumps(anew), "ines", NOW)


async def test_what_cannot_be_copied_is_said(settings: Settings, client: Client) -> None:
    offset = await bury(client, settings, b"?")
    with pytest.raises(NoRecord, match="is no message"):
        await copied(client, settings, "mesh.dead_letters", offset)
    with pytest.raises(NoRecord, match="no record"):
        await copied(client, settings, "mesh.dead_letters", offset + 1)
    with pytest.raises(NoRecord, match="no topic"):
        await copied(client, settings, "mesh.nowhere", 1)


async def test_a_turn_without_a_reply_has_none_yet(settings: Settings, client: Client) -> None:
    assert await reply_to(client, settings, "s1", "t1") is None


def test_a_blank_message_is_of_now() -> None:
    at = datetime.fromisoformat(blank()["payload"]["at"])
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
