from typing import Any

from streams.message import Exchange
from streams.replay.versions import Versions, model_of, prompt_version
from tests.streams.replay.turns import finished


def asked(prompt: str, text: str = "x", **response: Any) -> Exchange:
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": text}]
    request = {"model": "openai/gpt", "messages": messages}
    return Exchange(target="llm", request=request, response=response or None, duration_ms=1)


def test_a_prompt_has_a_version_that_the_customers_words_do_not_change() -> None:
    assert prompt_version(asked("be kind")) == prompt_version(asked("be kind", "other"))
    assert prompt_version(asked("be kind")) != prompt_version(asked("be brief"))
    shop = Exchange(target="orders", request={"messages": []}, duration_ms=1)
    assert (prompt_version(shop), model_of(shop)) == (None, None)


def test_the_model_is_the_one_that_answered_if_it_says_so() -> None:
    assert model_of(asked("p", model="gpt-2026-01-01")) == "gpt-2026-01-01"
    assert model_of(asked("p", text="hm")) == "openai/gpt"
    assert model_of(asked("p")) == "openai/gpt"


def test_many_turns_tell_all_that_they_were_worked_on_with() -> None:
    versions = Versions()
    for code, prompt in (("1", "a"), ("1", "b"), ("2", "a")):
        turn = finished()
        turn.trace[0].code = code
        turn.trace[0].exchanges = [asked(prompt, model="m")]
        versions.add(turn)
    assert (versions.code, versions.models) == ({"1", "2"}, {"m"})
    assert {actor for actor, _ in versions.prompts} == {"intent_analyzer"}
    assert len(versions.prompts) == 2
