"""Whether the model answers: what `app.py doctor --model` says of it."""

from typing import Final

from agents.llm import Model
from streams.checkup.finding import Finding, failed, ok
from streams.errors import ModelUnavailable
from streams.settings import Settings

CHECK: Final = "model"
LOAD_SECONDS: Final = 30  # a worker has loaded litellm before its first question, we have not


async def check_model(settings: Settings) -> Finding:
    """Ask the model one short question, as actors ask theirs."""
    patient = settings.llm_timeout + LOAD_SECONDS
    model = Model(settings.model_copy(update={"llm_timeout": patient}))
    try:
        await model.complete(
            system="You are being tested. Answer with the one word: yes.",
            messages=[{"role": "user", "content": "Do you answer?"}],
            max_tokens=50,
        )
    except ModelUnavailable as error:
        return failed(
            CHECK,
            f"{settings.llm_model}: {error}",
            "Look at MESH_LLM_MODEL, MESH_LLM_API_KEY and MESH_LLM_API_BASE; until then rules and "
            "templates answer.",
        )
    finally:
        await model.close()
    return ok(CHECK, f"{settings.llm_model} answers")
