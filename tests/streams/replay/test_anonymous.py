import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.masking import personal
from streams.message import ByHand, Exchange, Hop, Message
from streams.payload import Context, Customer, Intent, IntentName, Utterance
from streams.replay.anonymous import Anonymous
from tests.streams.replay.turns import AT, finished

SECRET = b"a secret"
ADDRESS = {
    "address1": "863 Lakeview Drive",
    "address2": "Suite 424",
    "city": "Seattle",
    "state": "WA",
    "zip": "98157",
    "country": "USA",
}
PROMPT = "Greet people as in: Hello Raj, 98157."


def customer(first: str = "Raj", last: str = "Santos", **more: Any) -> dict[str, Any]:
    lower = f"{first}.{last}".lower()
    return {
        "id": f"{first}_{last}_9079".lower(),
        "name": {"first_name": first, "last_name": last},
        "email": f"{lower}4322@example.com",
        "phone": "+1-416-555-0147",
        "address": ADDRESS,
        "orders": ["#W4680753"],
        **more,
    }


def looked_up(who: dict[str, Any], text: str, turn: str = "t2", session: str = "s1") -> Message:
    """Return a turn in which the shop told who the customer is."""
    email, name = who["email"], who["name"]
    brief = json.dumps({"customer_name": name["first_name"], "says": text, "to": ADDRESS["zip"]})
    messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": brief}]
    exchanges = [
        Exchange(
            target="cache",
            request={"command": "get", "key": f"customers:email:{email}"},
            duration_ms=1,
        ),
        Exchange(
            target="customers",
            request={"method": "GET", "path": "/customers", "params": {"email": email}},
            response={"status": 200, "body": {"customers": [who]}},
            duration_ms=1,
        ),
        Exchange(
            target="customers",
            request={"method": "GET", "path": f"/customers/{who['id']}/issues"},
            duration_ms=1,
        ),
        Exchange(
            target="llm",
            request={"model": "m", "messages": messages},
            response={"text": f"Hi {name['first_name']},\n\n#W4680753 goes to Seattle."},
            duration_ms=1,
        ),
    ]
    message = finished(turn, session, text)
    message.payload = message.payload.model_copy(update={"email": email})
    message.payload.context = Context(customer=Customer.model_validate(who))
    hop = Hop(actor="context_retriever", started_at=AT, exchanges=exchanges)
    message.trace.append(hop)
    return message


def changed(*messages: Message, secret: bytes = SECRET) -> list[Message]:
    with closing(Anonymous(secret)) as anonymous:
        for message in messages:
            anonymous.learn(message)
        return [anonymous.changed(message) for message in messages]


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from () if value.get("role") == "system" else texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def whole(message: Message) -> str:
    return "\n".join(texts(message.model_dump(mode="json"))).lower()


def test_what_the_shop_told_of_a_customer_is_exchanged_all_over_the_conversation() -> None:
    earlier = finished("t1", "s1", "Hello, raj santos here, in SEATTLE. My code is 98157")
    later = looked_up(
        customer(), "Mail raj.santos4322@example.com, or (416) 555-0147, 863 lakeview drive"
    )
    later.payload.history = [Utterance(role="customer", text=earlier.payload.text, at=AT)]
    one, two = changed(earlier, later)
    for message in (one, two):
        for gone in ("raj", "santos", "4322", "98157", "0147", "lakeview", "863", "424", "seattle"):
            assert gone not in whole(message)
    assert two.payload.history[0].text == one.payload.text
    who = two.payload.context.customer if two.payload.context else None
    assert who is not None
    first, last = who.name["first_name"], who.name["last_name"]
    assert f"{first} {last}".lower() in one.payload.text
    assert who.email in two.payload.text
    assert who.id == f"{first}_{last}_9079".lower()
    assert (who.orders, who.address["state"]) == (["#W4680753"], "WA")


def test_requests_still_fit_their_answers_and_the_codes_prompts_are_the_codes() -> None:
    (message,) = changed(looked_up(customer(), "hm"))
    cache, found, issues, asked = message.trace[-1].exchanges
    (who,) = found.response["body"]["customers"]
    assert found.request["params"] == {"email": who["email"]}
    assert cache.request["key"] == f"customers:email:{who['email']}"
    assert issues.request["path"] == f"/customers/{who['id']}/issues"
    system, user = asked.request["messages"]
    assert system["content"] == PROMPT
    brief = json.loads(user["content"])
    assert brief["customer_name"] == who["name"]["first_name"]
    assert brief["to"] == who["address"]["zip"]
    greeting = f"Hi {who['name']['first_name']},\n\n#W4680753 goes to {who['address']['city']}."
    assert asked.response["text"] == greeting


def test_a_person_is_the_same_in_every_conversation_and_another_in_every_export() -> None:
    turns = [looked_up(customer(), "x", session="s1"), looked_up(customer(), "y", session="s2")]
    one, two = changed(*turns)
    other, _ = changed(*turns, secret=b"another")
    assert one.payload.email == two.payload.email != other.payload.email
    with closing(Anonymous()) as anonymous, closing(Anonymous()) as again:
        assert anonymous.changed(one).payload.email != again.changed(one).payload.email


@pytest.mark.parametrize(
    ("first", "last", "said", "left"),
    [
        ("Will", "Grace", "Will you, by the grace of God?", "will you, by the grace of god?"),
        ("April", "May", "since April I may wait", "since april i may wait"),
        ("Bill", "Order", "my bill of the order", "my bill of the order"),
        ("Model", "Done", "Model XS is done", "model xs is done"),
    ],
)
def test_a_name_that_is_a_word_too_is_exchanged_only_where_it_is_a_name(
    first: str, last: str, said: str, left: str
) -> None:
    who = customer(first, last)
    (message,) = changed(
        looked_up(who, f"{said} I am {first} {last}. Mr {last}, {last}, {first}.", "t1")
    )
    text = message.payload.text.lower()
    assert text.startswith(left)
    assert f"{first} {last}".lower() not in whole(message)
    assert f"mr {last}".lower() not in text
    assert f'"{first}"' not in json.dumps(message.trace[-1].exchanges[-1].request)
    assert f"hi {first}".lower() not in whole(message)
    who_now = message.payload.context.customer if message.payload.context else None
    assert who_now is not None
    assert who_now.name != who["name"]
    assert message.payload.intent is not None
    assert message.payload.intent.name == IntentName.ORDER_STATUS


def test_names_come_from_what_customers_say_of_themselves_too() -> None:
    said = finished(text="My name is Zoë Quackenbush. Write to zoë, please.")
    entity = finished("t2", text="it was for quentin")
    entity.payload.intent = Intent.model_validate(
        {
            "name": "other",
            "confidence": 1,
            "entities": [{"type": "name", "value": "Quentin", "start": 11, "end": 18}],
        }
    )
    escaped = finished("t3", text=json.dumps({"name": "Zoë"}))
    one, two, three = changed(said, entity, escaped)
    for message in (one, two, three):
        for gone in ("zoë", "zo\\u00eb", "quackenbush", "quentin"):
            assert gone not in whole(message)
    assert two.payload.intent is not None
    assert two.payload.text.endswith(two.payload.intent.entities[0].value.lower())


def test_a_form_that_a_customer_fills_in_is_read_line_by_line() -> None:
    said = "First name: Ava\nLast name: Kovacs\nZIP: 55082\nFor the lamp: NEW YORK"
    (message,) = changed(finished(text=said))
    lines = message.payload.text.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "First name",
        "Last name",
        "ZIP",
        "For the lamp",
    ]
    for gone in ("ava", "kovacs", "55082"):
        assert gone not in whole(message)


def test_what_is_quoted_and_cut_off_is_cut_off_after_it_was_exchanged() -> None:
    said = "Please use raj.santos4322@example.com to look up where my parcel is, would you?"
    message = looked_up(customer(), said)
    for end in range(12, len(said)):
        quote = f"The customer wrote: {said[:end]}…"
        message.trace[-1].exchanges[0].request["body"] = {"text": quote, "end": quote[:-1]}
        message.trace[-1].exchanges[1].request["body"] = {"more": f"{quote} {said}"[:160]}
        (new,) = changed(message)
        body = new.trace[-1].exchanges[0].request["body"]
        assert body["text"] == f"The customer wrote: {new.payload.text[:end]}…"
        more = new.trace[-1].exchanges[1].request["body"]["more"]
        assert more == f"{body['text']} {new.payload.text}"[:160]


def test_what_somebody_has_masked_stays_as_it_is() -> None:
    message = finished(text="a link went to r***@example.com")
    message.trace[0].exchanges[0].request["sent_to"] = "r***@example.com"
    (new,) = changed(message)
    assert new.trace == message.trace
    assert new.payload.text == message.payload.text


def test_the_new_in_front_of_a_town_stays_as_people_say_it_of_other_things() -> None:
    address = {**ADDRESS, "city": "New York"}
    message = looked_up(customer(address=address), "to my New York address, my new york one")
    (new,) = changed(message)
    assert re.fullmatch(r"to my New (\w)(\w+) address, my new (?i:\1)\2 one", new.payload.text)
    assert "york" not in whole(new)


def test_ids_that_carry_a_name_are_ids_without_it() -> None:
    message = looked_up(customer(), "x", turn="raj-1", session="chat_raj_santos")
    message.by_hand = [ByHand(kind="published", operator="Ann", at=AT)]
    message.traceparent = "00-abc"
    (new,) = changed(message)
    assert "raj" not in new.id
    assert new.session_id.startswith("chat_")
    assert "raj" not in new.session_id
    assert new.by_hand[0].operator != "Ann"
    assert new.traceparent is None


def test_an_address_to_write_to_is_one_whatever_its_field_is_called() -> None:
    message = finished()
    email = message.payload.email
    message.trace[0].exchanges[0].request["body"] = {"address": email, "username": email}
    (new,) = changed(message)
    assert new.payload.email != email
    body = new.trace[0].exchanges[0].request["body"]
    assert body == {"address": new.payload.email, "username": new.payload.email}


def test_numbers_in_fields_that_are_numbers_stay_numbers() -> None:
    message = finished()
    message.trace[0].exchanges[0].request["body"] = {"zip": 98157, "count": 98157, "phone": True}
    message.payload = message.payload.model_copy(update={"email": "a@b.example"})
    (new,) = changed(message)
    body = new.trace[0].exchanges[0].request["body"]
    assert isinstance(body["zip"], int)
    assert body["zip"] != 98157
    assert (body["count"], body["phone"]) == (98157, True)


names = st.from_regex(r"[A-Z][a-z]{2,9}", fullmatch=True)
sentences = st.sampled_from(
    [
        "Hi, I'm {first} {last}, {street}, {city}, WA {zip}.",
        "{email} is my address; phone: {phone}",
        "Where is #W1234567? {first}",
        "Ship it to {city} instead, zip {zip}, and call {phone}",
        "{card} was charged twice, tracking 921467935176",
    ]
)


@given(
    first=names,
    last=names,
    zip_code=st.from_regex(r"[1-9][0-9]{4}", fullmatch=True),
    street=st.from_regex(r"[1-9][0-9]{1,3} [A-Z][a-z]{3,8} (Street|Drive|Ave)", fullmatch=True),
    said=st.lists(sentences, min_size=1, max_size=3),
)
def test_whoever_it_is_nothing_is_left_and_nothing_moves(
    first: str, last: str, zip_code: str, street: str, said: list[str]
) -> None:
    email = f"{first}.{last}77@example.com".lower()
    pieces = {
        "first": first,
        "last": last,
        "street": street,
        "city": "Seattle",
        "zip": zip_code,
        "email": email,
        "phone": "(416) 555-0147",
        "card": "4111 1111 1111 1111",
    }
    address = {**ADDRESS, "address1": street, "zip": zip_code}
    who = customer(first, last, address=address, email=email)
    turns = [
        looked_up(who, text.format(**pieces), turn=f"t{number}") for number, text in enumerate(said)
    ]
    for old, new in zip(turns, changed(*turns), strict=True):
        assert Message.decode(new.encode()) == new
        assert len(new.payload.text) == len(old.payload.text)
        assert list(personal(new.payload.text)) == list(personal(old.payload.text))
        for gone in (f"{first} {last}".lower(), email, street.lower(), "555-0147", "1111 1111 1"):
            assert gone not in whole(new)
        for kept in ("#W1234567", "921467935176"):
            assert (kept in new.payload.text) == (kept in old.payload.text)
