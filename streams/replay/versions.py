"""Which code, prompts and models a turn was worked on with, as its trace tells."""

import hashlib
from dataclasses import dataclass, field

from streams.message import Exchange, Message


@dataclass
class Versions:
    """What one turn, or many, were worked on with."""

    code: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    prompts: set[tuple[str, str]] = field(default_factory=set)
    """Actors, each with the version of its prompt."""

    def add(self, message: Message) -> None:
        """Take in a turn."""
        for hop in message.trace:
            if hop.code:
                self.code.add(hop.code)
            for exchange in hop.exchanges:
                if (model := model_of(exchange)) is not None:
                    self.models.add(model)
                if (prompt := prompt_version(exchange)) is not None:
                    self.prompts.add((hop.actor, prompt))


def model_of(exchange: Exchange) -> str | None:
    """Return the model that answered by its own account, else the one that was asked for."""
    if exchange.target != "llm":
        return None
    answered = exchange.response.get("model") if isinstance(exchange.response, dict) else None
    asked = exchange.request.get("model")
    return next((str(name) for name in (answered, asked) if name), None)


def prompt_version(exchange: Exchange) -> str | None:
    """Return a digest of the prompt, None without any: what an actor tells a model every time.

    It is in the recorded request, so this is the version of what was really sent.
    """
    messages = exchange.request.get("messages")
    if exchange.target != "llm" or not isinstance(messages, list):
        return None
    said = [
        str(message.get("content"))
        for message in messages
        if isinstance(message, dict) and message.get("role") == "system"
    ]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:10] if said else None
