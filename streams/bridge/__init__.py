"""A Faust transport for NATS JetStream: `faust.App(broker="nats://…")`.

Usable without Faust too: `layout` (names, partitioner, headers), `connection`, `topics`,
`publisher`, `reader`, `direct` and `records` know nothing of it. See README.md in this folder.
"""

from typing import TYPE_CHECKING, Any

from .records import Record, decode

if TYPE_CHECKING:
    from .fixup import Fixup
    from .transport import Transport

__all__ = ["Fixup", "Record", "Transport", "decode"]


def __getattr__(name: str) -> Any:
    # Faust takes most of a second to import; who only publishes or reads shall not pay for it.
    if name == "Transport":
        from .transport import Transport

        return Transport
    if name == "Fixup":
        from .fixup import Fixup

        return Fixup
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
