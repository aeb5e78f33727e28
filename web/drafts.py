"""What the pages share on which operators write or edit messages."""

from typing import Final

from streams import slip
from streams.operators.draft import BadDraft
from streams.payload import Json
from streams.topics import MAILBOXES
from web.errors import ApiError

MOST_TEXT: Final = 1_000_000  # characters; a record of NATS holds hardly more bytes

#: Where messages may be sent: each mailbox, and the standard routes by names for people.
ROUTING: Final[Json] = {
    "mailboxes": list(MAILBOXES),
    "routes": {
        "A new turn": list(slip.NEW_TURN),
        "Act and answer": list(slip.ACT_AND_ANSWER),
        "Answer": list(slip.ANSWER),
        "Hand over to a person": list(slip.ESCALATE),
        "Close with the reply it has": list(slip.CLOSE),
    },
}


def refused(bad: BadDraft) -> ApiError:
    """Return the error for a draft that is no message the mesh can carry: 422 with `problems`."""
    problems = [problem.model_dump() for problem in bad.problems]
    return ApiError(422, "invalid", str(bad), also={"problems": problems})
