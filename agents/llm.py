"""The language helper: one question to a model through litellm, with everything that can go wrong.

litellm takes seconds and much memory to import, so it is loaded in a thread once the event loop
runs, and questions asked meanwhile wait for it inside their own time limit.
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import os
from typing import Any, Final

import aiohttp

from streams.errors import ModelUnavailable
from streams.observability import tracing
from streams.payload import Json
from streams.settings import Settings
from streams.trace import exchange

MOCK_MODEL: Final = "mesh-mock"
MOCK_KEY: Final = "not-a-key"  # OpenAI's client insists on a key, the mock takes any
ERROR_LENGTH: Final = 300
CONNECTIONS: Final = 128


def load() -> Any:
    """Import litellm quietly: its own price list, no `.env` reading, no advice on the console."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    litellm.drop_params = True  # models differ in what they take; a missing option is no failure
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)  # what fails, we say ourselves
    # It leaves hundreds of thousands of objects that live as long as the process. Taken out of
    # the garbage collector's sight, they no longer cost every turn a share of a full collection.
    gc.freeze()
    return litellm


def uses_mock(settings: Settings) -> bool:
    """Say whether questions go to the model mock.

    They do when no base URL is given; except that another model's name together with a key means
    that provider's own URL, which litellm knows.
    """
    named = settings.llm_model.rpartition("/")[2] != MOCK_MODEL
    return not settings.llm_api_base and not (named and settings.llm_api_key.get_secret_value())


class Model:
    """The model that the settings name, behind one pool of connections."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.llm_model
        self.timeout = settings.llm_timeout
        mock = uses_mock(settings)
        self._secret = settings.llm_api_key.get_secret_value()
        self._api_key = self._secret or (MOCK_KEY if mock else None)
        self._api_base = settings.llm_api_base or (
            f"http://127.0.0.1:{settings.llm_port}/v1" if mock else None
        )
        self._litellm: asyncio.Task[Any] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the pool and begin to load litellm; returns at once."""
        if self._session is None:
            # litellm hands this session to whichever client it makes, and it may make a new one
            # every hour: the connections are ours and outlive them.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        if self._litellm is None:
            self._litellm = asyncio.create_task(asyncio.to_thread(load), name="load litellm")

    async def close(self) -> None:
        """Close the pool; a Model may be started again afterwards."""
        task, self._litellm = self._litellm, None
        session, self._session = self._session, None
        if task is not None and not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        elif task is not None and task.exception() is None:
            # litellm keeps clients around our session for later. One that found its session
            # closed would quietly open another and leave it behind.
            task.result().in_memory_llm_clients_cache.flush_cache()
        if session is not None:
            await session.close()

    async def complete(
        self,
        *,
        system: str,
        messages: list[dict[str, str]],
        json: bool = False,
        max_tokens: int = 500,
    ) -> str:
        """Return the model's answer, or raise ModelUnavailable saying what was wrong.

        With `json` the model is asked for a JSON object; whether it kept to that is the caller's
        to check, as not every model knows how to.
        """
        asked = [{"role": "system", "content": system}, *messages]
        request: Json = {
            "model": self.name,
            "messages": asked,
            "json": json,
            "max_tokens": max_tokens,
        }
        async with exchange("llm", request) as answer:
            if answer.wanted:
                answer.response = await self._answer(asked, json=json, max_tokens=max_tokens)
            text = answer.response["text"]
            if not text:
                raise ModelUnavailable("empty answer")
            if answer.response["finish_reason"] == "length":
                raise ModelUnavailable(f"answer cut off after {max_tokens} tokens")
            return str(text)

    async def _answer(self, messages: list[dict[str, str]], *, json: bool, max_tokens: int) -> Json:
        """Ask, within the time there is; ModelUnavailable for whatever goes wrong."""
        try:
            async with asyncio.timeout(self.timeout):
                response = await self._ask(messages, json=json, max_tokens=max_tokens)
        except TimeoutError as error:
            raise ModelUnavailable(f"no answer within {self.timeout:g} s") from error
        except Exception as error:
            # Not `from error`: the original may hold the request, and the request the key.
            raise ModelUnavailable(self._describe(error)) from None
        return self._read(response)

    async def _ask(self, messages: list[dict[str, str]], *, json: bool, max_tokens: int) -> Any:
        await self.start()
        if self._litellm is None:  # pragma: no cover - start() has just set it
            raise ModelUnavailable("closed")
        # Many questions may wait for one load: one that gives up must not cancel it for all.
        litellm = await asyncio.shield(self._litellm)
        return await litellm.acompletion(
            model=self.name,
            messages=messages,
            temperature=0,
            max_tokens=max_tokens,
            response_format={"type": "json_object"} if json else None,
            api_base=self._api_base,
            api_key=self._api_key,
            # To an address that somebody gave, not to whoever litellm knows by itself.
            extra_headers=(tracing.headers() or None) if self._api_base else None,
            timeout=self.timeout,
            # The actor falls back to rules at once; retries would only use up its time.
            num_retries=0,
            max_retries=0,
            shared_session=self._session,
        )

    def _read(self, response: Any) -> Json:
        """Return what is worth recording of an answer; ModelUnavailable if it is not one."""
        try:
            choice = response.choices[0]
            text = (choice.message.content or "").strip()
            usage = getattr(response, "usage", None)
            read: Json = {
                "text": text,
                # Which model it was: the name that was asked for may mean another one tomorrow.
                "model": getattr(response, "model", None),
                "finish_reason": choice.finish_reason,
                "prompt_tokens": getattr(usage, "prompt_tokens", None),
                "completion_tokens": getattr(usage, "completion_tokens", None),
            }
        except (AttributeError, IndexError, TypeError) as error:
            raise ModelUnavailable(f"not a chat completion: {error}") from None
        hidden = getattr(response, "_hidden_params", None) or {}
        if cost := hidden.get("response_cost"):
            read["cost_usd"] = cost
        return read

    def _describe(self, error: Exception) -> str:
        """Return one short line about a failure, without the key."""
        if isinstance(error, ModelUnavailable):
            return str(error)
        text = " ".join(f"{type(error).__name__}: {error}".split())
        if self._secret:
            text = text.replace(self._secret, "***")
        return text[:ERROR_LENGTH]
