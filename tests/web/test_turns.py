from web.turns import TurnWatch


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_turns_that_are_answered_in_time_leave_no_trace() -> None:
    clock = Clock()
    watch = TurnWatch(10, clock)
    watch.sent("a")
    assert watch.look().waiting == 1
    clock.now = 9
    watch.answered("a")
    seen = watch.look()
    assert (seen.waiting, seen.late, seen.failing) == (0, 0, False)


def test_a_turn_without_an_answer_is_a_failure_until_another_is_answered() -> None:
    clock = Clock()
    watch = TurnWatch(10, clock)
    watch.sent("a")
    clock.now = 11
    assert watch.look().failing
    watch.sent("b")
    clock.now = 12
    watch.answered("b")
    seen = watch.look()
    assert (seen.late, seen.failing) == (1, False)
    clock.now = 75
    assert watch.look().late == 1  # "a" still waits
    watch.answered("a")
    assert watch.look().late == 0


def test_a_client_that_gave_up_waiting_counts_as_late_for_a_minute() -> None:
    clock = Clock()
    watch = TurnWatch(10, clock)
    watch.sent("a")
    clock.now = 9.9
    watch.gave_up("a")
    assert watch.look().failing
    clock.now = 71
    assert watch.look().late == 0


def test_a_client_that_left_in_time_says_nothing_about_the_mesh() -> None:
    clock = Clock()
    watch = TurnWatch(10, clock)
    watch.sent("a")
    watch.forget(["a", "unknown"])
    clock.now = 20
    assert watch.look().late == 0


def test_a_turn_that_nobody_answers_is_not_remembered_for_ever() -> None:
    clock = Clock()
    watch = TurnWatch(10, clock)
    watch.sent("a")
    clock.now = 11
    watch.look()
    clock.now = 2000
    assert watch.look().waiting == 0
