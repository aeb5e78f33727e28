"""A chat-completion server that speaks OpenAI's API, with a small deterministic model behind it.

The model reads its prompt. A JSON block `{"task": …}` in the system message says what is wanted:
`classify` (with `labels`), `reply` or `summarize`; to anything else it says honestly that it is a
mock. The same request always gets the same content.
"""

import hmac
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mocks import reading, writing
from mocks.service import add_health
from mocks.units import dice

DEFAULT_MODEL = "mesh-mock-1"
FINGERPRINT = "fp_mesh_mock_1"

_PIECE = re.compile(r"\s*(?:[^\W\d_]{1,6}|\d{1,3}|_+|[^\w\s]|\w)|\s+")
_PER_MESSAGE = 4  # tokens that the markers around each message cost


class _Part(BaseModel):
    """A piece of a message's content."""

    type: str
    text: str = ""


class _Message(BaseModel):
    """One message of the request."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None

    @property
    def text(self) -> str:
        """Return the content as one text."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class _JsonSchema(BaseModel):
    """The schema that an answer has to fit."""

    name: str = "answer"
    schema_: Annotated[dict[str, Any], Field(alias="schema")] = {}


class _Format(BaseModel):
    """Which form the answer is to have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None

    @model_validator(mode="after")
    def _schema_is_there(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is needed for this type")
        return self


class _StreamOptions(BaseModel):
    """How a stream is to be."""

    include_usage: bool = False


class _Request(BaseModel):
    """The body of a chat completion; what is not named here is accepted and has no effect."""

    model_config = ConfigDict(extra="ignore")

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[_Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=8)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    seed: int | None = None
    response_format: _Format | None = None


@dataclass(frozen=True)
class Completion:
    """What the model said and why it stopped."""

    text: str
    finish_reason: Literal["stop", "length"]


# --- the server ---------------------------------------------------------------------------------


def create_app(
    *,
    api_key: str | None = None,
    models: Sequence[str] = (DEFAULT_MODEL,),
    middlewares: tuple[Middleware, ...] = (),
) -> web.Application:
    """Return the model's server; with a key, requests need it as a bearer token."""

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if api_key is not None and request.path != "/health":
            if not given:
                return error(401, "You did not provide an API key.", code="missing_api_key")
            if not hmac.compare_digest(given.encode(), api_key.encode()):
                return error(401, "Incorrect API key provided.", code="invalid_api_key")
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as no:
            return error(no.status, f"{request.method} {request.path}: {no.reason}")
        return response

    async def list_models(request: web.Request) -> web.Response:
        data = [
            {"id": model, "object": "model", "created": 0, "owned_by": "mocks"} for model in models
        ]
        return web.json_response({"object": "list", "data": data})

    app = web.Application(middlewares=[*middlewares, guard])
    add_health(app, "llm")
    app.router.add_get("/v1/models", list_models)
    app.router.add_post("/v1/chat/completions", _chat)
    return app


def error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
) -> web.Response:
    """Return an error in OpenAI's shape."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return web.json_response(body, status=status)


def failing(seed: int) -> Callable[[web.Request], web.Response]:
    """Return what makes a failure's answer: overloaded or broken, in turns by chance."""
    luck = dice("llm failures", seed)

    def fail(request: web.Request) -> web.Response:
        if luck.random() < 0.5:
            response = error(
                429,
                "Rate limit reached, try again later.",
                kind="requests",
                code="rate_limit_exceeded",
            )
            response.headers["Retry-After"] = "1"
            return response
        return error(500, "The server had an error.", kind="server_error")

    return fail


async def _chat(request: web.Request) -> web.StreamResponse:
    """Answer a chat completion."""
    try:
        asked = _Request.model_validate(json.loads(await request.read()))
    except ValidationError as no:
        first = no.errors(include_url=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        return error(400, f"{param or 'body'}: {first['msg']}", param=param)
    except ValueError:
        return error(400, "We could not parse the JSON body of your request.")
    try:
        completion = complete(asked)
    except BadPrompt as no:
        return error(400, str(no), param="messages")

    head = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": asked.model,
        "system_fingerprint": FINGERPRINT,
    }
    count = asked.n or 1
    prompt_tokens = sum(len(pieces(one.text)) + _PER_MESSAGE for one in asked.messages)
    completion_tokens = len(pieces(completion.text)) * count
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    if asked.stream:
        with_usage = asked.stream_options is not None and asked.stream_options.include_usage
        return await _stream(request, head, completion, count, usage if with_usage else None)
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": completion.text, "refusal": None},
            "logprobs": None,
            "finish_reason": completion.finish_reason,
        }
        for index in range(count)
    ]
    return web.json_response(
        {**head, "object": "chat.completion", "choices": choices, "usage": usage}
    )


async def _stream(
    request: web.Request,
    head: dict[str, Any],
    completion: Completion,
    count: int,
    usage: dict[str, int] | None,
) -> web.StreamResponse:
    """Send a completion piece by piece, as server-sent events."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)

    def deltas() -> Iterator[tuple[dict[str, str], str | None]]:
        yield {"role": "assistant", "content": ""}, None
        for piece in pieces(completion.text):
            yield {"content": piece}, None
        yield {}, completion.finish_reason

    async def send(chunk: dict[str, Any]) -> None:
        body = {**head, "object": "chat.completion.chunk", **chunk}
        await response.write(f"data: {json.dumps(body)}\n\n".encode())

    more = {} if usage is None else {"usage": None}
    for index in range(count):
        for delta, reason in deltas():
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
            await send({"choices": [choice], **more})
    if usage is not None:
        await send({"choices": [], "usage": usage})
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


# --- the model ----------------------------------------------------------------------------------


class BadPrompt(Exception):
    """A task that cannot be done because the prompt lacks what it needs."""


def pieces(text: str) -> list[str]:
    """Return a text's tokens: short pieces that together are the text again."""
    return _PIECE.findall(text)


def complete(asked: _Request) -> Completion:
    """Return what the model says to a request."""
    answer, key = _answer(asked)
    if isinstance(answer, str):
        form = asked.response_format
        text = answer if form is None or form.type == "text" else _as_json({key: answer}, form)
    else:
        text = _as_json(answer, asked.response_format)
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    ends = [text.find(stop) for stop in stops if stop and stop in text]
    if ends:
        text = text[: min(ends)]
    most = asked.max_completion_tokens or asked.max_tokens
    parts = pieces(text)
    if most is not None and len(parts) > most:
        return Completion("".join(parts[:most]), "length")
    return Completion(text, "stop")


def _answer(asked: _Request) -> tuple[str | dict[str, Any], str]:
    """Return the answer to the task that the system message sets, and what to call it in JSON."""
    system = "\n".join(one.text for one in asked.messages if one.role in ("system", "developer"))
    turns = [one for one in asked.messages if one.role in ("user", "assistant")]
    users = [one.text for one in turns if one.role == "user"]
    last = users[-1] if users else ""
    task = next((one for one in json_blocks(system) if "task" in one), {})
    if task.get("task") == "classify":
        earlier = [one.text for one in turns if one.role == "user"][:-1]
        return _classified(task, last, earlier), "intent"
    if task.get("task") == "reply":
        return writing.reply(_brief(last), asked.seed), "reply"
    if task.get("task") == "summarize":
        most = task.get("max_sentences", 4)
        return reading.summarize(_conversation(last), most if isinstance(most, int) else 4), (
            "summary"
        )
    return (
        "I am a small mock model for local development. I can only classify, reply or summarize "
        "when the system message asks for one of these tasks.",
        "answer",
    )


def json_blocks(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that stand in a text, whatever stands around them."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except ValueError:
            end = start + 1
        else:
            if isinstance(found, dict):
                yield found
        start = text.find("{", end)


def _classified(task: dict[str, Any], text: str, earlier: Sequence[str]) -> dict[str, Any]:
    """Return the answer to a classification."""
    labels = task.get("labels")
    if isinstance(labels, list):
        labels = {str(name): str(name).replace("_", " ") for name in labels}
    if not isinstance(labels, dict) or not labels:
        raise BadPrompt('labels: the task "classify" needs an object of names and descriptions')
    described = {
        name: told if isinstance(told, str) else json.dumps(told) for name, told in labels.items()
    }
    verdict = reading.classify(described, text, earlier)
    return {
        "intent": verdict.intent,
        "confidence": verdict.confidence,
        "also": verdict.also,
    }


def _brief(text: str) -> writing.Brief:
    """Return what a reply is to say, from the JSON block of the user's message."""
    block = next(json_blocks(text), None)
    if block is None:
        raise BadPrompt('the task "reply" needs a JSON object in the user message')

    def texts(name: str) -> list[str]:
        value = block.get(name) or []
        return [_told(one) for one in (value if isinstance(value, list) else [value])]

    name, question = block.get("customer_name"), block.get("question")
    opening = block.get("opening")
    return writing.Brief(
        customer_name=str(name) if name else None,
        opening=str(opening) if opening else None,
        tone=writing.tone_of(str(block.get("tone") or "neutral")),
        facts=texts("facts"),
        must_say=texts("must_say"),
        question=str(question) if question else None,
    )


def _told(fact: object) -> str:
    """Return a fact as a text; an object is read out field by field."""
    if isinstance(fact, dict):
        text = fact.get("text")
        if isinstance(text, str):
            return text
        return ", ".join(f"{str(name).replace('_', ' ')}: {value}" for name, value in fact.items())
    return str(fact)


def _conversation(text: str) -> str:
    """Return a conversation as lines, from such lines or from a JSON list of turns."""
    try:
        content = json.loads(text)
    except ValueError:
        return text
    if isinstance(content, dict):
        content = next((one for one in content.values() if isinstance(one, list)), [])
    if not isinstance(content, list):
        return text
    lines = []
    for turn in content:
        if isinstance(turn, dict):
            who = turn.get("role") or turn.get("author") or turn.get("from") or ""
            said = turn.get("text") or turn.get("content") or ""
            lines.append(f"{str(who).capitalize()}: {said}" if who else str(said))
        else:
            lines.append(str(turn))
    return "\n".join(lines)


def _as_json(answer: dict[str, Any], form: _Format | None) -> str:
    """Return an answer as JSON that fits the schema, if one was given."""
    if form is not None and form.json_schema is not None:
        answer = _fitted(answer, form.json_schema.schema_)
    return json.dumps(answer, ensure_ascii=False)


def _fitted(answer: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with the fields that a schema asks for, and none that it does not know."""
    fields = schema.get("properties")
    if not isinstance(fields, dict):
        return answer
    fitted = {name: value for name, value in answer.items() if name in fields}
    left = [value for name, value in answer.items() if name not in fields]
    for name in schema.get("required", fields):
        if name in fitted or not isinstance(fields.get(name), dict):
            continue
        # An answer under another name than the schema's is still the answer, if it is one text.
        if fields[name].get("type") == "string" and left and isinstance(left[0], str):
            fitted[name] = left.pop(0)
        else:
            fitted[name] = _nothing(fields[name])
    return fitted


def _nothing(schema: dict[str, Any]) -> Any:
    """Return the emptiest value that a schema allows."""
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    kind = "null" if isinstance(kind, list) and "null" in kind else kind
    kind = kind[0] if isinstance(kind, list) and kind else kind
    empty: dict[Any, Any] = {
        "string": "",
        "number": 0,
        "integer": 0,
        "boolean": False,
        "array": [],
    }
    return _fitted({}, schema) if kind == "object" else empty.get(kind)
