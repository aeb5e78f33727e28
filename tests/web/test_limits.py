from web.limits import RateLimit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_may_send_so_many_messages_in_any_minute() -> None:
    clock = Clock()
    limit = RateLimit(2, clock)
    assert limit.take("s", "1") == 0
    clock.now = 50
    assert limit.take("s", "2") == 0
    assert limit.take("s", "3") == 10
    clock.now = 60
    assert limit.take("s", "3") == 0
    assert limit.take("s", "4") == 50


def test_sessions_do_not_count_for_each_other() -> None:
    limit = RateLimit(1, Clock())
    assert limit.take("s", "1") == 0
    assert limit.take("t", "1") == 0
    assert limit.take("s", "2") > 0


def test_a_message_sent_again_counts_once() -> None:
    limit = RateLimit(1, Clock())
    assert [limit.take("s", "1") for _ in range(5)] == [0] * 5


def test_idle_sessions_take_no_memory() -> None:
    clock = Clock()
    limit = RateLimit(5, clock)
    for number in range(1000):
        limit.take(str(number), "1")
    clock.now = 61
    limit.take("new", "1")
    assert len(limit) == 1
