"""Five customers who write in: each is played through the front door and judged by the shop."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Final, NoReturn

import aiohttp

from mocks.cast import ANGRY, CAST, CONFUSED, POLITE, RETURNER, VIP, CastMember

Say = Callable[[str], None]
Json = dict[str, Any]

REPLY_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 0.25


class Wrong(Exception):
    """A scenario did not end as it must; the text says what was expected and what was found."""


@dataclass
class Turn:
    """One thing said and what came back."""

    text: str
    message_id: str = field(default_factory=lambda: secrets.token_hex(8))
    hops: list[str] = field(default_factory=list)
    reply: Json = field(default_factory=dict)
    seconds: float = 0.0

    def must(self, holds: bool, expected: str) -> None:
        """Raise Wrong, with the reply, unless `holds`."""
        if not holds:
            shown = {k: self.reply.get(k) for k in ("state", "intent", "response", "actions")}
            raise Wrong(f"expected {expected}; got {shown}")

    def must_say(self, *parts: str) -> None:
        """Raise Wrong unless the reply says every part."""
        text = self.reply.get("response", "")
        for part in parts:
            self.must(part in text, f"{part!r} in the reply")

    def must_have_done(self, kind: str) -> Json:
        """Return the detail of the action of this kind; Wrong unless it was done."""
        for action in self.reply.get("actions", []):
            if action["kind"] == kind and action["ok"]:
                return dict(action.get("detail") or {})
        self.must(False, f"the action {kind} done")
        raise AssertionError("unreachable")


@dataclass
class Result:
    """How a scenario ended."""

    name: str
    ok: bool = True
    problem: str = ""
    turns: list[Turn] = field(default_factory=list)

    def as_json(self) -> Json:
        """Return the result as plain values."""
        return asdict(self)


class Shop:
    """The shop as its own staff see it: what is true, whatever the mesh says."""

    def __init__(self, http: aiohttp.ClientSession, urls: Mapping[str, str]) -> None:
        self._http = http
        self._urls = urls

    async def get(self, service: str, path: str) -> Json:
        """Return the JSON at a path of `customers`, `orders` or `tracking`."""
        async with self._http.get(self._urls[service] + path) as answer:
            answer.raise_for_status()
            return dict(await answer.json())

    async def order(self, order_id: str) -> Json:
        """Return an order."""
        return await self.get("orders", f"/orders/{order_id.removeprefix('#')}")

    async def parcel(self, order_id: str) -> Json:
        """Return an order's first parcel."""
        found = await self.get("tracking", f"/parcels?order_id={order_id.removeprefix('#')}")
        return dict(found["parcels"][0])

    async def issues(self, customer_id: str) -> list[Json]:
        """Return a customer's tickets, newest first."""
        return list((await self.get("customers", f"/customers/{customer_id}/issues"))["issues"])

    async def begin_anew(self, member: CastMember) -> None:
        """Put a cast member's orders, parcels and tickets back to where the story starts."""
        url = f"{self._urls['customers']}/cast/{member.customer_id}/begin-anew"
        async with self._http.post(url) as answer:
            answer.raise_for_status()


class Line:
    """A customer's WebSocket as a page keeps it: one that breaks is made anew, and nothing lost."""

    def __init__(self, http: aiohttp.ClientSession, url: str, email: str) -> None:
        self._http = http
        self._url = url
        self._email = email
        self._token = ""
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._after = 0
        self._missed: list[Json] = []

    async def send(self, frame: Json) -> None:
        """Send a frame; Broken if it may not have arrived."""
        if self._socket is None:
            await self._connect()
        try:
            assert self._socket is not None  # noqa: S101 - for the type checker
            await self._socket.send_json(frame)
        except (aiohttp.ClientError, OSError) as error:
            await self._break(error)

    async def receive(self) -> Json:
        """Return the next frame; Broken if the line is: then say again what is unanswered."""
        if self._missed:
            return self._missed.pop(0)
        if self._socket is None:
            raise Broken("closed")
        try:
            frame: Json = await self._socket.receive_json()
        except (aiohttp.ClientError, OSError, TypeError) as error:  # TypeError: it was closed
            await self._break(error)
        self._after = max(self._after, frame.get("sequence") or 0)
        return frame

    async def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            await self._socket.close()

    async def _break(self, error: Exception) -> NoReturn:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
        raise Broken(f"{type(error).__name__}: {error}") from error

    async def _connect(self) -> None:
        try:
            if not self._token:
                opened = self._http.post(f"{self._url}/api/session", json={"email": self._email})
                async with opened as answer:
                    answer.raise_for_status()
                    self._token = (await answer.json())["token"]
            self._socket = await self._http.ws_connect(f"{self._url}/ws")
            hello = {"type": "hello", "token": self._token, "after": self._after}
            await self._socket.send_json(hello)
            welcome = await self._socket.receive_json()
        except (aiohttp.ClientError, OSError, TypeError) as error:
            if isinstance(error, aiohttp.ClientConnectorError) and not self._token:
                raise Wrong(f"nobody is there: {error}") from None
            await self._break(error)
        if welcome.get("type") != "welcome":
            await self._break(Wrong(f"no welcome: {welcome}"))
        self._missed = welcome["replies"]
        for reply in self._missed:
            self._after = max(self._after, reply["sequence"])


class Broken(Exception):
    """The line broke, or could not be made."""


class Conversation:
    """One customer's chat, printing each hop as it happens."""

    def __init__(self, line: Line, say: Say) -> None:
        self._line = line
        self._say = say
        self.turns: list[Turn] = []

    async def send(self, text: str) -> Turn:
        """Say something and return once the reply is there.

        As a page does, it says the same again, under the same id, when the line broke meanwhile.
        """
        turn = Turn(text)
        self.turns.append(turn)
        self._say(f"  customer: {text}")
        started = time.perf_counter()
        problem = ""
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                while turn.reply == {}:
                    try:
                        await self._attempt(turn, started)
                    except Broken as broken:
                        problem = str(broken)
                        await asyncio.sleep(AGAIN_SECONDS)
        except TimeoutError:
            text = f"no reply within {REPLY_SECONDS:.0f} seconds"
            raise Wrong(f"{text} ({problem})" if problem else text) from None
        turn.seconds = time.perf_counter() - started
        self._say(f"  mesh:     {turn.reply['response']}")
        for action in turn.reply["actions"]:
            self._say(f"            [{action['kind']}: {'done' if action['ok'] else 'refused'}]")
        self._say(f"            ({turn.reply['state']}, {turn.seconds * 1000:.0f} ms)")
        return turn

    async def _attempt(self, turn: Turn, started: float) -> None:
        await self._line.send({"type": "message", "message_id": turn.message_id, "text": turn.text})
        while turn.reply == {}:
            self._on_frame(turn, await self._line.receive(), started)

    def _on_frame(self, turn: Turn, frame: Json, started: float) -> None:
        if frame.get("message_id") != turn.message_id:
            return  # late news of the turn before
        if frame["type"] == "progress":
            turn.hops.append(frame["actor"])
            self._say(f"    {(time.perf_counter() - started) * 1000:6.0f} ms  {frame['actor']}")
        elif frame["type"] == "reply":
            turn.reply = frame
        elif frame["type"] == "error":
            if frame["code"] == "unavailable":
                raise Broken(frame["message"])  # it asks to be told again
            raise Wrong(f"the mesh refused the message: {frame}")


Story = Callable[[CastMember, Conversation, Shop], Awaitable[None]]


async def angry_customer(who: CastMember, chat: Conversation, shop: Shop) -> None:
    """A late parcel: she hears when it comes, and the carrier is asked to look for it."""
    order = who.order_ids[0]
    parcel = await shop.parcel(order)
    turn = await chat.send(
        f"This is ridiculous! My order {order} should have been here days ago and nobody tells "
        "me anything. Where is my parcel?! I am really angry."
    )
    turn.must(turn.reply["sentiment"] == "negative", "a negative sentiment")
    turn.must(turn.reply["intent"] == "delivery_delay", "the intent delivery_delay")
    turn.must_say(order, parcel["tracking_id"], day(parcel["estimated_delivery"]))
    turn.must_have_done("trace_parcel")
    traced = await shop.parcel(order)
    turn.must(len(traced["events"]) > len(parcel["events"]), "the search in the carrier's events")
    turn.must(turn.reply["state"] in ("answered", "escalated"), "an answer or a human")


async def polite_question(who: CastMember, chat: Conversation, shop: Shop) -> None:
    """An ordinary question: the true date, and nothing done."""
    order = who.order_ids[0]
    parcel = await shop.parcel(order)
    turn = await chat.send(
        f"Hello, could you please tell me when my order {order} arrives? Thanks!"
    )
    turn.must(turn.reply["state"] == "answered", "an answer")
    turn.must(turn.reply["actions"] == [], "no action")
    turn.must_say(order, day(parcel["estimated_delivery"]))


async def vip_billing(who: CastMember, chat: Conversation, shop: Shop) -> None:
    """Charged twice: the payment is disputed, and a human takes over with a ticket."""
    order = who.order_ids[0]
    before = await shop.issues(who.customer_id)
    turn = await chat.send(
        f"Hello, I believe I was charged twice for my order {order}. That worries me, could you "
        "please look into it?"
    )
    turn.must(turn.reply["intent"] == "billing_issue", "the intent billing_issue")
    turn.must_have_done("open_dispute")
    turn.must(turn.reply["state"] == "escalated", "a human to take over")
    issues = await shop.issues(who.customer_id)
    turn.must(len(issues) == len(before) + 1, "one new ticket in the shop")
    turn.must_say(issues[0]["id"])


async def return_of_an_order(who: CastMember, chat: Conversation, shop: Shop) -> None:
    """A return is asked back first, then done once, in the shop too."""
    order = who.order_ids[0]
    asked = await chat.send(
        f"Hi, I would like to return my order {order}, it does not suit me after all."
    )
    asked.must(asked.reply["intent"] == "return_request", "the intent return_request")
    asked.must(asked.reply["state"] == "awaiting_confirmation", "a question to confirm")
    asked.must((await shop.order(order))["status"] == "delivered", "nothing done yet")
    done = await chat.send("Yes, please.")
    done.must_have_done("return_items")
    done.must(done.reply["state"] == "answered", "an answer")
    placed = await shop.order(order)
    done.must(placed["status"] == "return requested", f"a return in the shop, not {placed}")
    done.must_say(order, f"{placed['return']['refund_amount']:.2f}")


async def two_problems(who: CastMember, chat: Conversation, shop: Shop) -> None:
    """Two wishes in one message: both are answered, and only the confirmed one is done."""
    pending, late = who.order_ids
    parcel = await shop.parcel(late)
    both = await chat.send(
        f"Hi, I'm a bit confused. I want to cancel order {pending}, I don't need it any more. And "
        f"my other order {late} still has not arrived, where is it?"
    )
    both.must(both.reply["state"] == "awaiting_confirmation", "a question to confirm")
    both.must_say(pending, late, day(parcel["estimated_delivery"]))
    both.must((await shop.order(pending))["status"] == "pending", "nothing cancelled yet")
    done = await chat.send("yes, go ahead")
    done.must_have_done("cancel_order")
    placed = await shop.order(pending)
    done.must(placed["status"] == "cancelled", f"the order cancelled in the shop, not {placed}")
    done.must_say(pending)


STORIES: Final[dict[str, tuple[str, Story]]] = {
    "An angry customer with a late parcel": (ANGRY, angry_customer),
    "A polite question about an order": (POLITE, polite_question),
    "A VIP's billing worry": (VIP, vip_billing),
    "A return": (RETURNER, return_of_an_order),
    "A confused customer with two problems": (CONFUSED, two_problems),
}


def day(iso: str) -> str:
    """Return a date as the mesh writes it to customers, such as `November 5`."""
    moment = date.fromisoformat(iso)
    return f"{moment:%B} {moment.day}"


async def play(url: str, shop_urls: Mapping[str, str], say: Say) -> list[Result]:
    """Play all stories against the mesh at `url`; never raises for a story that ends wrong."""
    results = []
    async with aiohttp.ClientSession() as http:
        for title, (member, story) in STORIES.items():
            say(f"\n{title}")
            result = Result(title)
            results.append(result)
            await _play(url, Shop(http, shop_urls), http, CAST[member], story, result, say)
            say("  ok" if result.ok else f"  WRONG: {result.problem}")
    right = sum(result.ok for result in results)
    say(f"\n{right} of {len(results)} scenarios ended as they must.")
    return results


async def _play(
    url: str,
    shop: Shop,
    http: aiohttp.ClientSession,
    who: CastMember,
    story: Story,
    result: Result,
    say: Say,
) -> None:
    try:
        await shop.begin_anew(who)
        line = Line(http, url, who.email)
        try:
            chat = Conversation(line, say)
            result.turns = chat.turns
            await story(who, chat, shop)
        finally:
            await line.close()
    except Wrong as wrong:
        result.ok, result.problem = False, str(wrong)
    except (aiohttp.ClientError, OSError, ValueError, TypeError, KeyError) as error:
        result.ok, result.problem = False, f"{type(error).__name__}: {error}"
