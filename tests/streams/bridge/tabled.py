"""A worker with tables of all kinds, whose contents records decide: `{"do": what, …}` by key."""

import os
import sys
from datetime import timedelta
from typing import Any

import faust
from faust.types import RecordMetadata, StreamT

PARTITIONS = 3
LONG = timedelta(hours=2)
CENTURY = timedelta(days=36_500)
"""A window that no test sees the end of: windows begin and end at multiples of their size."""


class Tables:
    """The app's tables, and what their callbacks have seen."""

    def __init__(self, app: Any, extra: dict[str, Any]) -> None:
        self.recovered = 0
        self.changes: list[Any] = []
        self.commands = app.topic("commands", key_type=str)
        self.plain = app.Table(
            "plain",
            default=int,
            key_type=str,
            value_type=int,
            on_changelog_event=self.on_change,
            extra_topic_configs=extra,
        )
        self.plain.on_recover(self.on_recover)
        self.sets = app.SetTable("sets", key_type=str, value_type=str)
        self.windowed = app.Table("windowed", default=int, key_type=str, value_type=int).tumbling(
            CENTURY, expires=LONG, key_index=True
        )
        self.spread = app.Table("spread", key_type=str, value_type=int, use_partitioner=True)
        app.agent(self.commands, name="obey")(self.obey)

    async def on_recover(self) -> None:
        """Count recoveries."""
        self.recovered += 1

    async def on_change(self, event: Any) -> None:
        """Note a change that was read from the changelog."""
        self.changes.append(event)

    async def obey(self, stream: StreamT[Any]) -> None:
        """Do what the records say."""
        async for key, command in stream.items():
            value = command.get("value", 0)
            match command["do"]:
                case "set":
                    self.plain[key] = value
                    self.windowed[key] = value
                    self.spread[f"of {key}"] = value
                case "add":
                    self.plain[key] += value
                case "delete" if key in self.plain:
                    del self.plain[key]
                case "join":
                    self.sets[key].add(value)
                case "leave":
                    self.sets[key].discard(value)

    async def do(self, what: str, key: str, value: Any = 0) -> RecordMetadata:
        """Send a command, and return where it is stored."""
        sent: RecordMetadata = await (
            await self.commands.send(key=key, value={"do": what, "value": value})
        )
        return sent


def build(
    broker: str, datadir: Any, store: str, extra: dict[str, Any] | None = None, **settings: Any
) -> tuple[Any, Tables]:
    """Return an app and its tables."""
    defaults: dict[str, Any] = {
        "topic_partitions": PARTITIONS,
        "web_enabled": False,
        "broker_commit_interval": 0.2,
        "broker_heartbeat_interval": 0.5,
        "broker_session_timeout": 10.0,
        "stream_recovery_delay": 0.0,
    }
    app = faust.App("tabled", broker=broker, datadir=datadir, store=store, **(defaults | settings))
    return app, Tables(app, extra or {})


if __name__ == "__main__":
    app, _ = build(os.environ["BROKER"], os.environ["DATADIR"], os.environ["STORE"])
    sys.argv = ["tabled", "worker", "--without-web", "-l", "info"]
    app.main()
