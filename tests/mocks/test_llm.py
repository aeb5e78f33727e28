import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientError, web
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import strategies as st

from mocks.llm import DEFAULT_MODEL, create_app, failing, json_blocks, pieces
from mocks.weather import weather

Client = TestClient[web.Request, web.Application]
Starts = Callable[[web.Application], Awaitable[Client]]

CLASSIFY = """You sort messages to a shop. Answer with JSON only, {"intent": …}.

```json
{"task": "classify", "language": "en", "labels": {
  "cancel_order": "stop an order: cancel my order, ordered by mistake",
  "delivery_delay": "a late parcel: it has not arrived, it is late, delayed",
  "other": "anything else"}}
```
Never explain {yourself}."""
BRIEF = {
    "customer_name": "Dagny",
    "tone": "apologetic",
    "facts": ["Order #W7000101 is delayed.", "It is expected on 13 March."],
    "must_say": ["We are sorry for the delay."],
    "question": "Shall we ask the carrier?",
    "language": "en",
}
CUSTOMER = "Please cancel my order. And my other parcel is late!"


@pytest.fixture
async def client(aiohttp_client: Starts) -> Client:
    return await aiohttp_client(create_app())


def request(system: str, user: str, **more: object) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return {"model": "gpt-mock", "messages": messages, **more}


async def ask(client: Client, body: object, status: int = 200) -> Any:
    async with client.post("/v1/chat/completions", json=body) as response:
        answer = await response.json()
        assert response.status == status, answer
        return answer


async def said(client: Client, body: object) -> str:
    content = (await ask(client, body))["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


# --- the tasks ----------------------------------------------------------------------------------


async def test_classify(client: Client) -> None:
    answer = json.loads(await said(client, request(CLASSIFY, CUSTOMER)))
    assert answer["intent"] == "cancel_order"
    assert answer["also"] == ["delivery_delay"]
    assert 0.5 < answer["confidence"] <= 1
    assert set(answer) == {"intent", "confidence", "also"}


async def test_classify_with_earlier_turns(client: Client) -> None:
    body = request(CLASSIFY, "and this one?")
    body["messages"][1:1] = [
        {"role": "user", "content": "Please cancel my order #W1."},
        {"role": "assistant", "content": "It is cancelled."},
    ]
    assert json.loads(await said(client, body))["intent"] == "cancel_order"


async def test_classify_with_a_list_of_labels(client: Client) -> None:
    system = json.dumps({"task": "classify", "labels": ["cancel_order", "late_parcel"]})
    assert json.loads(await said(client, request(system, CUSTOMER)))["intent"] == "cancel_order"


@pytest.mark.parametrize("labels", [None, {}, [], "cancel"])
async def test_classify_without_labels(client: Client, labels: object) -> None:
    body = request(json.dumps({"task": "classify", "labels": labels}), CUSTOMER)
    error = (await ask(client, body, 400))["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith("labels")


async def test_reply(client: Client) -> None:
    user = f"Write to this customer:\n{json.dumps(BRIEF)}\nThank you."
    text = await said(client, request('{"task": "reply"}', user))
    assert text.startswith(("Hi Dagny,", "Hello Dagny,", "Dear Dagny,"))
    for fact in (*BRIEF["facts"], *BRIEF["must_say"]):
        assert fact.lower() in text.lower()
    assert text.endswith("Shall we ask the carrier?")
    assert "{" not in text


async def test_reply_with_facts_as_objects(client: Client) -> None:
    brief = {"facts": [{"text": "It is here."}, {"order_id": "#W1", "total": 3.5}, 7]}
    text = await said(client, request('{"task": "reply"}', json.dumps(brief)))
    assert "It is here." in text
    assert "rder id: #W1, total: 3.5" in text


async def test_reply_without_a_brief(client: Client) -> None:
    error = (await ask(client, request('{"task": "reply"}', "write!"), 400))["error"]
    assert error["param"] == "messages"


@pytest.mark.parametrize(
    "user",
    [
        "Customer: Where is order #W7000101?\nAgent: It is delayed.",
        json.dumps(
            {
                "turns": [
                    {"role": "customer", "text": "Where is order #W7000101?"},
                    {"role": "agent", "content": "It is delayed."},
                ]
            }
        ),
    ],
)
async def test_summarize(client: Client, user: str) -> None:
    text = await said(client, request('{"task": "summarize", "max_sentences": 1}', user))
    assert text == "Customer: Where is order #W7000101?"


@pytest.mark.parametrize("system", ["You are helpful.", '{"task": "sing"}', "{broken", ""])
async def test_anything_else_is_a_mock(client: Client, system: str) -> None:
    assert "mock" in await said(client, request(system, "Sing!"))


async def test_the_same_request_gets_the_same_answer(client: Client) -> None:
    body = request('{"task": "reply"}', json.dumps(BRIEF), seed=5)
    one, two = await ask(client, body), await ask(client, body)
    assert one["choices"] == two["choices"]
    assert one["usage"] == two["usage"]
    assert one["id"] != two["id"]
    others = {await said(client, {**body, "seed": seed}) for seed in range(12)}
    assert len(others) > 1


# --- the protocol -------------------------------------------------------------------------------


async def test_the_form_of_a_completion(client: Client) -> None:
    answer = await ask(client, request(CLASSIFY, CUSTOMER))
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "gpt-mock"
    (choice,) = answer["choices"]
    assert choice["index"] == 0
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == len(pieces(choice["message"]["content"]))
    longer = await ask(client, request(CLASSIFY, CUSTOMER + " Please!"))
    assert longer["usage"]["prompt_tokens"] > usage["prompt_tokens"]


async def test_content_in_parts(client: Client) -> None:
    body = request(CLASSIFY, "")
    body["messages"][1]["content"] = [{"type": "text", "text": CUSTOMER}]
    assert json.loads(await said(client, body))["intent"] == "cancel_order"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_max_tokens(client: Client, name: str) -> None:
    body = request('{"task": "reply"}', json.dumps(BRIEF))
    whole = await said(client, body)
    answer = await ask(client, {**body, name: 7})
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 7
    assert whole.startswith(choice["message"]["content"])
    assert (await ask(client, {**body, name: 4000}))["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stop", ["expected", ["never said", "expected"]])
async def test_stop(client: Client, stop: object) -> None:
    body = request('{"task": "reply"}', json.dumps(BRIEF))
    whole = await said(client, body)
    assert await said(client, {**body, "stop": stop}) == whole[: whole.index("expected")]


async def test_several_choices(client: Client) -> None:
    answer = await ask(client, request(CLASSIFY, CUSTOMER, n=3))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]


async def test_json_object(client: Client) -> None:
    body = request('{"task": "reply"}', json.dumps(BRIEF))
    text = await said(client, body)
    body["response_format"] = {"type": "json_object"}
    assert json.loads(await said(client, body)) == {"reply": text}


async def test_json_schema(client: Client) -> None:
    schema = {
        "type": "object",
        "properties": {
            "intent": {"type": "string"},
            "confidence": {"type": "number"},
            "reason": {"type": "string"},
            "urgency": {"enum": ["low", "high"]},
            "entities": {"type": "array"},
            "customer": {"type": "object", "properties": {"name": {"type": ["string", "null"]}}},
        },
        "required": ["intent", "confidence", "reason", "urgency", "entities", "customer"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}
    answer = json.loads(await said(client, request(CLASSIFY, CUSTOMER, response_format=form)))
    assert answer.pop("confidence") > 0.5
    assert answer == {
        "intent": "cancel_order",
        "reason": "",
        "urgency": "low",
        "entities": [],
        "customer": {"name": None},
    }
    schema = {"properties": {"text": {"type": "string"}}, "required": ["text"]}
    form["json_schema"] = {"name": "reply", "schema": schema}
    body = request('{"task": "reply"}', json.dumps(BRIEF), response_format=form)
    assert "#W7000101" in json.loads(await said(client, body))["text"]


async def stream(client: Client, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with client.post("/v1/chat/completions", json={**body, "stream": True}) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        events = (await response.text()).split("\n\n")
    assert events.pop() == ""
    assert events.pop() == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


async def test_stream(client: Client) -> None:
    body = request('{"task": "reply"}', json.dumps(BRIEF))
    whole = await ask(client, body)
    chunks = await stream(client, body)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    text = "".join(delta.get("content", "") for delta in deltas)
    assert text == whole["choices"][0]["message"]["content"]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["stop"]
    assert all("usage" not in chunk for chunk in chunks)

    chunks = await stream(client, {**body, "stream_options": {"include_usage": True}})
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "", "messages": [{"role": "user", "content": "a"}]}, "model"),
        ({"model": "m", "messages": [{"role": "king", "content": "a"}]}, "messages.0.role"),
        (request("", "", max_tokens=0), "max_tokens"),
        (request("", "", temperature=9), "temperature"),
        (request("", "", response_format={"type": "xml"}), "response_format.type"),
        (request("", "", response_format={"type": "json_schema"}), "response_format"),
        ([], None),
    ],
)
async def test_a_bad_body(client: Client, body: object, param: str | None) -> None:
    error = (await ask(client, body, 400))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_a_body_that_is_not_json(client: Client) -> None:
    async with client.post("/v1/chat/completions", data=b"{") as response:
        assert response.status == 400
        assert "JSON" in (await response.json())["error"]["message"]


async def test_models_and_unknown_paths(client: Client) -> None:
    async with client.get("/v1/models") as response:
        listed = await response.json()
    assert (listed["object"], listed["data"][0]["id"]) == ("list", DEFAULT_MODEL)
    async with client.get("/v1/nothing") as response:
        assert response.status == 404
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_a_key_that_is_asked_for(aiohttp_client: Starts) -> None:
    client = await aiohttp_client(create_app(api_key="sk-one"))
    for key, status in ((None, 401), ("Bearer sk-two", 401), ("Bearer sk-one", 200)):
        headers = {} if key is None else {"Authorization": key}
        async with client.post(
            "/v1/chat/completions", json=request(CLASSIFY, CUSTOMER), headers=headers
        ) as response:
            assert response.status == status
            assert ("error" in await response.json()) == (status == 401)
    async with client.get("/v1/models") as response:
        assert response.status == 401
    async with client.get("/health") as response:
        assert await response.json() == {"status": "ok", "service": "llm"}


async def test_bad_weather_speaks_openai(aiohttp_client: Starts) -> None:
    async def pause(seconds: float) -> None:
        """Do not wait."""

    storm = weather(0, 1, 2, failing(2), pause=pause)
    client = await aiohttp_client(create_app(middlewares=(storm,)))
    seen = set()
    for _ in range(40):
        try:
            async with client.post("/v1/chat/completions", json={}) as response:
                seen.add(response.status)
                error = (await response.json())["error"]
                assert set(error) == {"message", "type", "param", "code"}
                assert ("Retry-After" in response.headers) == (response.status == 429)
        except ClientError:
            seen.add(0)
    assert seen == {0, 429, 500}


# --- parts --------------------------------------------------------------------------------------


@given(st.text())
def test_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(
    st.text(alphabet=st.characters(exclude_characters="{}")),
    st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
)
def test_a_json_block_is_found_in_any_text(text: str, block: dict[str, Any]) -> None:
    assert list(json_blocks(f"{text} {json.dumps(block)} {{not json}} {text}")) == [block]


@given(st.text())
def test_any_text_is_searched_for_blocks(text: str) -> None:
    assert all(isinstance(block, dict) for block in json_blocks(text))
