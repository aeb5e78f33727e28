"""The API of replays, on runs as a player writes them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from streams.replay.request import ReplayRequest
from tables.run import About, Run, Stopped
from tables.runs import new_run_id
from tests.web.looked_at import read_events
from tests.web.operators import NAME, bearer
from tests.web.replays import NAMES, Room, result, running_room
from tests.web.served import served
from web import create_web

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHONE_NUMBER = "555-123-4567"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def room(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    async with running_room(nats_url, tmp_path_factory.mktemp("replays")) as room:
        yield room


async def test_they_are_for_operators_alone(room: Room) -> None:
    run = room.run("intent").name
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("POST", "/compare"),
        ("GET", f"/{run}"),
        ("DELETE", f"/{run}"),
        ("POST", f"/{run}/again"),
        ("POST", f"/{run}/stop"),
        ("GET", f"/{run}/live"),
        ("GET", f"/{run}/turns"),
        ("GET", f"/{run}/turns/0"),
        ("POST", f"/{run}/turns/0/what-if"),
    ):
        async with room.http.request(method, f"{room.url}/api/replay{path}", json={}) as answer:
            assert answer.status == 401, (method, path)
    for path in ("/replay", f"/replay/{run}", f"/replay/{run}/0"):
        async with room.http.get(f"{room.url}{path}", allow_redirects=False) as answer:
            assert answer.status == 302
            assert answer.headers["Location"] == f"/login?next={path}"
    assert room.runs.open(run).summary().turns == 1
    assert not room.asked


async def test_the_list_has_every_run_with_its_totals(room: Room) -> None:
    run = room.run(*NAMES)
    status, told = await room.ask("GET", "")

    assert status == 200
    assert told["can_start"]
    found = told["runs"][0]
    assert found["about"]["run"] == run.name
    assert found["summary"]["verdicts"] == {
        "same": 1,
        "similar": 0,
        "not recorded": 1,
        "different": 2,
        "failed": 1,
    }


async def test_a_replay_is_begun_and_written_down(room: Room) -> None:
    body = {"session": "s77", "mode": "recorded", "live": ["response_generator"], "workers": 2}
    status, told = await room.ask("POST", "", json=body)

    assert status == 202
    assert room.asked[-1] == ReplayRequest.model_validate(body)
    assert (await room.ask("GET", f"/{told['run']}"))[0] == 200
    entry = (await room.audit("conversation s77"))[-1]
    assert (entry.operator, entry.action) == (NAME, "replay")
    assert entry.detail == {"mode": "recorded", "live": ["response_generator"]}


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"source": "/etc/passwd"}, "source", "there is no such recording"),
        ({"source": "../outside.jsonl"}, "source", "there is no such recording"),
        ({"shop": "configured"}, "shop", "a page asks the mock alone"),
        ({"live": ["nobody"]}, "live", "there is no actor 'nobody'"),
        ({"workers": 99}, "workers", "less than or equal to 16"),
        ({"intent": "dance"}, "intent", "Input should be"),
        ({"filter": "a["}, "filter", "The expression cannot be used at character 3"),
    ],
)
async def test_what_cannot_be_replayed_is_said_with_its_field(
    room: Room, body: Any, field: str, said: str
) -> None:
    before = len(room.asked)
    status, told = await room.ask("POST", "", json=body)

    assert status == 422
    assert told["error"]["field"] == field
    assert said in told["error"]["message"]
    assert len(room.asked) == before


async def test_what_is_no_object_cannot_be_replayed(room: Room) -> None:
    status, told = await room.ask("POST", "", json=[1])
    assert (status, told["error"]["message"]) == (422, "This must be a JSON object.")


async def test_the_journal_and_the_recordings_of_the_data_folder_can_be_replayed(
    room: Room,
) -> None:
    folder = room.settings.data_dir / "recordings"
    folder.mkdir(exist_ok=True)
    (folder / "february.jsonl").write_text("{}")
    _, told = await room.ask("GET", "")
    assert [one["name"] for one in told["recordings"]] == ["february.jsonl"]
    assert told["journal"]["messages"] == 0

    status, _ = await room.ask("POST", "", json={"source": "february.jsonl"})
    assert status == 202
    assert room.asked[-1].source == str(folder / "february.jsonl")


async def test_a_replay_may_be_compared_with_an_earlier_one_that_is_there(room: Room) -> None:
    earlier = room.run("same").name
    assert (await room.ask("POST", "", json={"against": earlier}))[0] == 202
    assert room.asked[-1].against == earlier
    assert (await room.ask("POST", "", json={"against": new_run_id()}))[0] == 404


async def test_not_too_many_replays_are_under_way_at_once(room: Room) -> None:
    under_way = [room.runs.create(About(source="x")) for _ in range(3)]
    try:
        status, told = await room.ask("POST", "", json={})
        assert (status, told["error"]["code"]) == (409, "busy")
        status, _ = await room.ask("DELETE", f"/{under_way[0].name}")
        assert status == 409
    finally:
        for run in under_way:
            run.close()
    assert (await room.ask("POST", "", json={}))[0] == 202


async def test_without_a_player_the_pages_only_show(room: Room) -> None:
    async with served(create_web(room.settings, room.gateway)) as url:
        headers = bearer(room.settings)
        async with room.http.post(f"{url}/api/replay", headers=headers, json={}) as answer:
            assert answer.status == 501
            assert "python app.py replay" in (await answer.json())["error"]["message"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"all": "1"}, [0, 1, 2, 3, 4]),
        ({"verdict": "same"}, [0]),
        ({"aspect": "intent"}, [1]),
        ({"actor": "response_generator"}, [2, 3]),
        ({"text": "PLEASE wait"}, [2]),
        ({"intent": "other"}, []),
        ({"position": "2", "attempt": "1"}, [3, 4]),
    ],
)
async def test_only_what_changed_is_listed_filtered(
    room: Room, query: dict[str, str], found: list[int]
) -> None:
    run = room.run(*NAMES)
    status, told = await room.ask("GET", f"/{run.name}/turns", params=query)

    assert status == 200
    assert [turn["position"] for turn in told["turns"]] == found


async def test_nonsense_is_refused_in_words(room: Room) -> None:
    run = room.run("intent").name
    for path, expected in (
        ("/20260101T000000000-00000000", 404),
        ("/..%2F..%2Fetc", 404),
        (f"/{run}/turns/9", 404),
        (f"/{run}/turns/0?attempt=x", 404),
        (f"/{run}/turns?aspect=weather", 422),
        (f"/{run}/turns?position=x", 422),
    ):
        status, told = await room.ask("GET", path)
        assert status == expected, path
        assert told["error"]["message"]


async def test_a_turn_is_shown_on_both_sides_hop_by_hop(room: Room) -> None:
    run = room.run(*NAMES).name
    _, told = await room.ask("GET", f"/{run}/turns/1")

    assert told["verdict"] == "different"
    assert [hop["verdict"] for hop in told["hops"]][:4] == ["same", "same", "different", "same"]
    assert told["diverging"]["changes"][0]["path"] == "intent.name"
    assert told["was"][2]["added"]["intent"]["name"] == "refund_status"
    assert told["now"][2]["added"]["intent"]["name"] == "other"
    assert told["was"][4]["steps"][0] == "mesh.execution_coordinator"
    _, failed = await room.ask("GET", f"/{run}/turns/4")
    assert (failed["verdict"], failed["reason"], failed["now"]) == ("failed", "it hung", [])


async def test_attempts_at_a_turn_are_shown_with_their_spread(room: Room) -> None:
    with room.runs.create(About(source="x")) as run:
        run.add([result(0, "same"), result(0, "intent", attempt=2), result(0, "same", attempt=3)])
    _, told = await room.ask("GET", f"/{run.name}/turns/0", params={"attempt": "2"})

    assert (told["attempt"], told["attempts"]) == (2, [1, 2, 3])
    assert [way["times"] for way in told["spread"]["intents"]] == [2, 1]
    assert told["spread"]["stability"] == pytest.approx(2 / 3, abs=0.001)


async def test_personal_data_is_masked_until_somebody_asks_and_that_is_written_down(
    room: Room,
) -> None:
    with room.runs.create(About(source="x")) as run:
        run.add([result(0, "intent", said=f"call {PHONE_NUMBER}")])
        run.end()
    for path in (f"/{run.name}/turns", f"/{run.name}/turns/0"):
        _, told = await room.ask("GET", path)
        assert PHONE_NUMBER not in json.dumps(told)
        assert "ada@example.com" not in json.dumps(told)
        assert told["masked"]
    assert not await room.audit(f"replay {run.name}")
    _, found = await room.ask("GET", f"/{run.name}/turns", params={"text": PHONE_NUMBER})
    assert found["turns"] == []

    _, told = await room.ask("GET", f"/{run.name}/turns/0?unmask=1")
    assert PHONE_NUMBER in json.dumps(told)
    assert [entry.action for entry in await room.audit(f"replay {run.name}")] == ["unmask"]


async def test_what_if_begins_behind_the_edited_hop(room: Room) -> None:
    before = ReplayRequest(source="old.jsonl", live=["response_generator"], workers=3)
    run = room.run(*NAMES, request=before).name
    body = {"hop": 4, "slots": {"plan": {"ask": "Which one?"}}, "steps": None}
    status, _ = await room.ask("POST", f"/{run}/turns/1/what-if", json=body)

    assert status == 202
    asked = room.asked[-1]
    assert (asked.source, asked.session, asked.live) == ("old.jsonl", "s1", before.live)
    assert asked.what_if is not None
    assert (asked.what_if.message_id, asked.what_if.hop) == ("m1", 4)
    assert asked.what_if.slots == {"plan": {"ask": "Which one?"}}
    entry = (await room.audit("conversation s1"))[-1]
    assert entry.detail["edited"] == "turn m1 hop 4"
    assert "Which one?" not in entry.model_dump_json()

    await room.ask("POST", f"/{run}/turns/1/what-if", json=body | {"live": True})
    assert (room.asked[-1].mode, room.asked[-1].shop) == ("live", "mock")

    for wrong, said in (
        ({"hop": 99, "slots": {}}, "hop: the recorded turn has none there"),
        ({"hop": 4, "slots": {"text": "x"}}, "no actor fills 'text'"),
        ({"hop": 4, "slots": {}, "steps": ["mesh.nowhere"]}, "no mailbox owns 'mesh.nowhere'"),
    ):
        status, told = await room.ask("POST", f"/{run}/turns/1/what-if", json=wrong)
        assert status == 422
        assert said in told["error"]["message"]


async def test_a_replay_is_done_again_as_it_was_asked_for(room: Room) -> None:
    request = ReplayRequest(source="old.jsonl", repeat=3)
    status, _ = await room.ask("POST", f"/{room.run('same', request=request).name}/again")
    assert (status, room.asked[-1]) == (202, request)

    status, told = await room.ask("POST", f"/{room.run('same', request=None).name}/again")
    assert status == 422
    assert told["error"]["message"]


async def test_two_replays_are_compared_with_each_other(room: Room) -> None:
    first, second = room.run("intent", "same"), room.run("intent", "other words")
    status, told = await room.ask(
        "POST", "/compare", json={"first": first.name, "second": second.name}
    )
    assert status == 202

    last = [event async for event in follow(room, told["run"])]
    assert [name for name, _ in last][-1] == "ended"
    _, turns = await room.ask("GET", f"/{told['run']}/turns")
    assert [turn["position"] for turn in turns["turns"]] == [1]
    missing = {"first": first.name, "second": new_run_id()}
    assert (await room.ask("POST", "/compare", json=missing))[0] == 404


async def follow(room: Room, run: str) -> AsyncIterator[tuple[str, Any]]:
    url = f"{room.url}/api/replay/{run}/live"
    async with room.http.get(url, headers=bearer(room.settings)) as answer:
        async for event in read_events(answer):
            yield event


async def test_a_replay_is_followed_from_before_it_begins_to_its_end(room: Room) -> None:
    name = new_run_id()
    seen: list[int] = []
    run: Run | None = None
    url = f"{room.url}/api/replay/{name}/live"
    async with room.http.get(url, headers=bearer(room.settings)) as answer:
        run = room.runs.create(About(run=name, source="x"))
        async for event, told in read_events(answer):
            if event == "ended":
                break
            seen.append(told["summary"]["turns"])
            if told["about"]["state"] == "running" and len(seen) < 3:
                run.add([result(len(seen) - 1, "same")])
            elif told["about"]["state"] == "running":
                run.end()
                run.close()

    assert seen == sorted(seen)
    assert seen[-1] == 2


async def test_a_replay_that_is_under_way_is_stopped(room: Room) -> None:
    with room.runs.create(About(source="x")) as run:
        assert (await room.ask("DELETE", f"/{run.name}"))[0] == 409  # nor is that in the audit
        assert (await room.ask("POST", f"/{run.name}/stop"))[0] == 200
        with pytest.raises(Stopped, match=f"It was stopped by {NAME}"):
            run.add([result(0, "same")])
    assert (await room.ask("POST", f"/{run.name}/stop"))[0] == 404
    assert [entry.action for entry in await room.audit(f"replay {run.name}")] == ["stop"]


async def test_a_run_is_deleted_and_that_is_written_down(room: Room) -> None:
    run = room.run("same").name

    assert (await room.ask("DELETE", f"/{run}"))[0] == 200
    assert (await room.ask("GET", f"/{run}"))[0] == 404
    assert (await room.ask("DELETE", f"/{run}"))[0] == 404
    assert [entry.action for entry in await room.audit(f"replay {run}")] == ["delete"]
