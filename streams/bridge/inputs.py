"""A record on its way through the streams."""

from typing import Any

from faust.types import ConsumerMessage


class Input(ConsumerMessage):
    """An input record, which counts what is sent because of it."""

    outputs: dict[tuple[str, str], int]
    """How many records each agent has sent to each topic."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outputs = {}
