"""A small mesh that does what it is told: turns are sent through it for people to look at."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Self

import faust

from agents import conversation, response_aggregator
from streams import slip
from streams.bridge.connection import connect, parse_url
from streams.errors import ShopUnavailable
from streams.gateway import Gateway
from streams.inspection.broker import Client
from streams.mailbox import Mesh
from streams.message import Message
from streams.payload import Guardrail, Payload, Response, Sentiment, Verdict
from streams.reply import Reply
from streams.settings import Settings
from streams.slip import RouteSlip
from streams.trace import note
from tables.sessions import Sessions
from tests.faust_apps import running
from tests.streams.small_mesh import replies
from tests.waiting import until

EMAIL = "ann@example.com"
SECRET = "call me at 555-123-4567"


class Stage:
    """Entry and exit as they are; between them actors that follow the customer's word.

    `flaky` fails twice, `broken` always, `doomed` has nobody to turn to, `loop` is refused once by
    the guardrail, `hold` stays until `release` is set. Everything else is answered at once.
    """

    def __init__(self, settings: Settings, gateway: Gateway, client: Client) -> None:
        self.settings = settings
        self.gateway = gateway
        self.client = client
        self.release = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def set_up(cls, settings: Settings) -> AsyncIterator[Self]:
        """Run the mesh with a gateway and a connection for those who look."""
        app = faust.App(
            f"stage-{settings.prefix}",
            broker=settings.faust_broker(),
            topic_partitions=settings.partitions,
            web_enabled=False,
            datadir=str(settings.data_dir / "tables"),
            stream_wait_empty=True,
            broker_commit_interval=0.2,
        )
        gateway = Gateway(settings)
        await gateway.start()
        await until(lambda: gateway.declared, "the gateway being connected")
        client = await connect(parse_url(settings.faust_broker()), name="test")
        stage = cls(settings, gateway, client)
        mesh = Mesh(app, settings)
        sessions = Sessions(app, settings)
        conversation.setup(mesh, sessions)
        response_aggregator.setup(mesh, sessions)
        stage._cast(mesh)
        await mesh.presence.start()
        try:
            async with running(app):
                yield stage
        finally:
            stage.release.set()
            await mesh.presence.stop()
            await client.close()
            await gateway.close()

    def _cast(self, mesh: Mesh) -> None:
        @mesh.actor(slip.SENTIMENT_ANALYZER)
        async def first(message: Message) -> Message:
            word = message.payload.text.split()[0]
            if word == "flaky" and message.recovery.attempts.get("sentiment_analyzer", 0) < 2:
                raise ShopUnavailable("the shop sleeps")
            if word in ("broken", "doomed"):
                raise ValueError(f"no way, {SECRET}")
            if word == "hold":
                await self.release.wait()
            message.payload.sentiment = Sentiment(label="neutral", score=0, cues=[SECRET])
            message.payload.response = Response(text=f"so: {word}", source="template")
            note("read it twice")
            answer = (slip.RESPONSE_GENERATOR, slip.GUARDRAIL_VALIDATOR, slip.DECISION_ROUTER)
            message.slip = message.slip.reroute(answer if word == "loop" else slip.CLOSE)
            return message

        @mesh.actor(slip.RESPONSE_GENERATOR)
        async def write(message: Message) -> Message:
            attempt = message.recovery.guardrail_rounds + 1
            text = f"attempt {attempt}"
            message.payload.response = Response(text=text, source="template", attempt=attempt)
            return message

        @mesh.actor(slip.GUARDRAIL_VALIDATOR)
        async def judge(message: Message) -> Message:
            passed = message.recovery.guardrail_rounds > 0
            verdicts = [Verdict(check="tone", passed=passed, reason="" if passed else "rude")]
            message.payload.guardrail = Guardrail(passed=passed, verdicts=verdicts)
            return message

        @mesh.actor(slip.DECISION_ROUTER)
        async def decide(message: Message) -> Message:
            guardrail = message.payload.guardrail
            if guardrail is not None and guardrail.passed:
                message.slip = message.slip.reroute(slip.CLOSE)
            else:
                message.recovery.guardrail_rounds += 1
                message.slip = message.slip.reroute(slip.ANSWER)
            return message

        @mesh.actor(slip.ESCALATION_ROUTER)
        async def give_up(message: Message) -> Message:
            if message.payload.text.startswith("doomed"):
                raise ValueError("the last resort is gone too")
            message.slip = message.slip.reroute(slip.CLOSE)
            return message

    async def say(self, text: str, session: str = "", turn: str = "") -> Message:
        """Send a turn, in a session of its own unless told otherwise."""
        message = Message(
            id=turn or secrets.token_hex(4),
            session_id=session or secrets.token_hex(6),
            slip=RouteSlip(steps=slip.NEW_TURN),
            payload=Payload(text=text, email=EMAIL, at=datetime.now(UTC)),
        )
        await self.gateway.send(message)
        return message

    async def play(self, *texts: str, session: str = "") -> str:
        """Send turns of one session one after the other; return the session once all ended."""
        session = session or secrets.token_hex(6)
        before = len(await self.gateway.replies(session))
        for number, text in enumerate(texts, start=before + 1):
            await self.say(text, session)
            await self.replies(session, number)
        return session

    async def replies(self, session: str, count: int) -> list[Reply]:
        """Return the session's replies once there are so many."""
        return await replies(self.gateway, session, count)
