import json
import re

import pytest

from streams.message import ID_PATTERN
from web.session import Holder, Sessions, UnknownSession
from web.signed import BadToken

A, B = "a@example.com", "b@example.com"


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(b"key", lifetime=60)


def test_a_session_id_fits_keys_and_subjects_and_is_never_the_same_twice(
    sessions: Sessions,
) -> None:
    ids = {sessions.open(A) for _ in range(100)}
    assert len(ids) == 100
    assert all(re.match(ID_PATTERN, session_id) for session_id in ids)


def test_a_session_belongs_to_its_address_however_that_is_capitalised(sessions: Sessions) -> None:
    session_id = sessions.open("Some.One@Example.com")
    sessions.check(session_id, "some.one@example.COM")
    with pytest.raises(UnknownSession):
        sessions.check(session_id, B)


@pytest.mark.parametrize(
    "forged", ["", "_", "x", "x_y", "0" * 24 + "_" + "0" * 32, "é_ü", "a_b_c", "\ud800_x"]
)
def test_an_invented_session_is_unknown(sessions: Sessions, forged: str) -> None:
    with pytest.raises(UnknownSession):
        sessions.check(forged, A)


def test_a_changed_session_is_unknown(sessions: Sessions) -> None:
    session_id = sessions.open(A)
    for place in range(len(session_id)):
        other = "0" if session_id[place] != "0" else "1"
        with pytest.raises(UnknownSession):
            sessions.check(session_id[:place] + other + session_id[place + 1 :], A)


def test_another_key_knows_none_of_our_sessions_and_tokens(sessions: Sessions) -> None:
    other = Sessions(b"another key", lifetime=60)
    session_id = sessions.open(A)
    with pytest.raises(UnknownSession):
        other.check(session_id, A)
    with pytest.raises(BadToken):
        other.read(sessions.token(session_id, A))


def test_a_token_names_session_and_owner(sessions: Sessions) -> None:
    session_id = sessions.open(A)
    assert sessions.read(sessions.token(session_id, A)) == Holder(session_id, A)


def test_a_token_ends() -> None:
    now = 1000.0
    sessions = Sessions(b"key", lifetime=60, clock=lambda: now)
    token = sessions.token("s", A)
    sessions.read(token)
    now = 1060.0
    with pytest.raises(BadToken):
        sessions.read(token)


def test_no_token_with_one_letter_changed_added_or_lost_is_valid(sessions: Sessions) -> None:
    token = sessions.token(sessions.open(A), A)
    changed = [token[:i] + ("A" if c != "A" else "B") + token[i + 1 :] for i, c in enumerate(token)]
    for bad in [*changed, token + "A", token + "=", token[:-1], token.replace(".", ".."), ""]:
        with pytest.raises(BadToken):
            sessions.read(bad)


@pytest.mark.parametrize(
    "bad", [".", "a.b", "é.é", "\ud800", json.dumps([1, 2]) + ".", "A" * 10**6]
)
def test_what_is_no_token_is_refused(sessions: Sessions, bad: str) -> None:
    with pytest.raises(BadToken):
        sessions.read(bad)
