import asyncio
import io
import json
import logging
import logging.config
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from streams import slip
from streams.message import Message
from streams.observability.logs import about, clean, configuration
from streams.payload import Payload
from streams.settings import Settings
from tests.streams.actors import ENDING, open_bench, turn

log = logging.getLogger("mesh.test_logs")


class Lines:
    """A logger as a process has it, and what it has written."""

    def __init__(self, log_format: Literal["text", "json"]) -> None:
        config = configuration(Settings(log_format=log_format), "worker")
        self._out = io.StringIO()
        self.handler = logging.StreamHandler(self._out)
        self.handler.setFormatter(config["formatters"]["lines"]["()"]())

    @property
    def text(self) -> str:
        return self._out.getvalue()

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(params=["text", "json"])
def lines(request: pytest.FixtureRequest) -> Iterator[Lines]:
    yield from _logging(Lines(request.param))


@pytest.fixture
def json_lines() -> Iterator[Lines]:
    yield from _logging(Lines("json"))


def _logging(lines: Lines) -> Iterator[Lines]:
    log.addHandler(lines.handler)
    log.propagate = False
    try:
        yield lines
    finally:
        log.removeHandler(lines.handler)
        log.propagate = True


def test_a_line_is_an_object_that_says_whose_turn_it_is_about(json_lines: Lines) -> None:
    with about("s1", "t1", "intent_analyzer"):
        log.warning("rules answered: %s", "the model is\nslow")
    log.warning("idle")
    first, second = json_lines.all
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "WARNING",
        "process": "worker",
        "logger": "mesh.test_logs",
        "message": "rules answered: the model is\nslow",
        "session": "s1",
        "turn": "t1",
        "actor": "intent_analyzer",
    }
    assert "session" not in second


def test_an_error_is_one_line_with_its_traceback(json_lines: Lines) -> None:
    try:
        raise KeyError("oops")
    except KeyError:
        log.exception("it failed")
    (line,) = json_lines.all
    assert line["error"]["type"] == "KeyError"
    assert line["error"]["message"] == "'oops'"
    assert "test_logs.py" in line["error"]["stack"]


def test_text_says_whose_turn_it_is_about() -> None:
    for lines in _logging(Lines("text")):
        with about("s1", "t1", "web"):
            log.warning("late")
        assert lines.text.endswith("WARNING mesh.test_logs late [s1/t1 web]\n")


def test_no_line_holds_personal_data_or_logins(lines: Lines) -> None:
    said = "I am dagny.okafor@example.com, call me at +1 415 555 2671, card 4111 1111 1111 1111"
    try:
        raise RuntimeError(said)
    except RuntimeError:
        log.exception("cannot send %s to nats://mesh:s3cret@broker:4222?x=1", said)
    log.warning("Authorization: Bearer abc.def")
    log.warning("redis://:s3cret@127.0.0.1:6379/0 and nats://t0ken@h1:4222")
    for hidden in ("dagny.okafor", "2671", "4111 1111", "s3cret", "abc.def", "t0ken"):
        assert hidden not in lines.text
    assert "broker:4222" in lines.text
    assert "127.0.0.1:6379" in lines.text


def test_what_is_no_ones_personal_data_stays(lines: Lines) -> None:
    log.warning("http://127.0.0.1:6066/health %s", "mesh.conversation/3/1234567890")
    assert "http://127.0.0.1:6066/health mesh.conversation/3/1234567890" in lines.text


def test_an_error_of_validation_does_not_quote_the_customer(lines: Lines) -> None:
    record = {"text": ["My name is Yusuf Rossi"], "at": "when I was born"}
    try:
        Payload.model_validate(record)
    except ValidationError:
        log.exception("a record cannot be read")
    assert "Yusuf" not in lines.text
    assert "born" not in lines.text


def test_the_configuration_is_one_that_logging_takes(capsys: pytest.CaptureFixture[str]) -> None:
    root, handlers, level = logging.getLogger(), logging.root.handlers[:], logging.root.level
    try:
        logging.config.dictConfig(configuration(Settings(log_format="json"), "mocks"))
        log.info("hello")
    finally:
        root.handlers[:], root.level = handlers, level
    assert json.loads(capsys.readouterr().out)["process"] == "mocks"


async def test_what_an_actor_logs_is_about_the_turn_it_works_on(
    nats_url: str, prefix: str, tmp_path: Path, json_lines: Lines
) -> None:
    async def buggy(message: Message) -> Message:
        await asyncio.create_task(said())
        raise KeyError(message.payload.text)

    async def said() -> None:
        log.warning("this task is the actor's")

    settings = Settings(broker_url=nats_url, prefix=prefix, data_dir=tmp_path, partitions=2)
    mailbox = logging.getLogger("streams.mailbox")
    mailbox.addHandler(json_lines.handler)
    try:
        async with open_bench(settings, {slip.DECISION_ROUTER: buggy, **ENDING}) as mesh:
            message = turn(slip.DECISION_ROUTER, slip.RESPONSE_AGGREGATOR)
            await mesh.mesh.send(message)
            await mesh.journal()
    finally:
        mailbox.removeHandler(json_lines.handler)
    said_by, failed = json_lines.all
    assert said_by["message"] == "this task is the actor's"
    assert failed["error"]["type"] == "KeyError"
    for line in (said_by, failed):
        place = (line["session"], line["turn"], line["actor"])
        assert place == ("s1", message.id, "decision_router")


@pytest.mark.parametrize("text", ["", "x", "://@", "a://b@c@d", "Bearer"])
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)
