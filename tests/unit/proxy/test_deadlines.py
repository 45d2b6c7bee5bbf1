from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.proxy.fakes import Clock

from gateway.proxy.deadlines import Deadlines


def deadlines(clock: Clock, expired: Callable[[str], None], seconds: float = 10.0) -> Deadlines[str]:
    return Deadlines(clock.loop, seconds, expired)


def test_what_was_armed_expires_when_its_time_is_over_and_not_before() -> None:
    clock, late = Clock(), list[str]()
    waits = deadlines(clock, late.append)
    waits.arm("a")
    clock.advance(9.999)
    assert late == []
    assert "a" in waits
    clock.advance(0.001)
    assert late == ["a"]
    assert "a" not in waits


def test_it_expires_once() -> None:
    clock, late = Clock(), list[str]()
    waits = deadlines(clock, late.append)
    waits.arm("a")
    clock.advance(100)
    assert late == ["a"]


def test_what_was_disarmed_does_not_expire() -> None:
    clock, late = Clock(), list[str]()
    waits = deadlines(clock, late.append)
    waits.arm("a")
    waits.arm("b")
    waits.disarm("a")
    waits.disarm("nobody")
    clock.advance(100)
    assert late == ["b"]


def test_what_is_armed_anew_has_all_its_time_again() -> None:
    clock, late = Clock(), list[str]()
    waits = deadlines(clock, late.append)
    waits.arm("a")
    waits.arm("b")
    clock.advance(6)
    waits.arm("a")
    clock.advance(4)
    assert late == ["b"]
    clock.advance(5)
    assert late == ["b"]
    clock.advance(1)
    assert late == ["b", "a"]


def test_the_oldest_is_what_was_armed_first() -> None:
    clock = Clock()
    waits = deadlines(clock, lambda _: None)
    assert waits.oldest() is None
    for name in ("a", "b"):
        waits.arm(name)
        clock.advance(1)
    assert (waits.oldest(), len(waits)) == ("a", 2)
    waits.arm("a")
    assert (waits.oldest(), len(waits)) == ("b", 2)


def test_one_timer_serves_any_number() -> None:
    clock = Clock()
    waits = deadlines(clock, lambda _: None)
    for number in range(100):
        waits.arm(str(number))
        clock.advance(0.01)
        assert clock.timers == 1


def test_nothing_is_due_when_nothing_is_armed() -> None:
    clock = Clock()
    waits = deadlines(clock, lambda _: None)
    waits.arm("a")
    clock.advance(10)
    assert clock.timers == 0


def test_after_closing_nothing_expires() -> None:
    clock, late = Clock(), list[str]()
    waits = deadlines(clock, late.append)
    waits.arm("a")
    waits.close()
    clock.advance(100)
    assert (late, len(waits), clock.timers) == ([], 0, 0)


def test_what_expires_may_be_armed_again_by_whoever_hears_of_it() -> None:
    clock, late = Clock(), list[str]()

    def again(what: str) -> None:
        late.append(what)
        waits.arm(what)

    waits = deadlines(clock, again)
    waits.arm("a")
    clock.advance(35)
    assert late == ["a"] * 3


def test_what_the_first_to_expire_disarms_does_not_expire_after_it() -> None:
    clock, late = Clock(), list[str]()

    def both(what: str) -> None:
        late.append(what)
        waits.disarm("b")

    waits = deadlines(clock, both)
    waits.arm("a")
    waits.arm("b")
    clock.advance(100)
    assert late == ["a"]


def test_what_the_first_to_expire_arms_anew_has_its_time() -> None:
    clock, late = Clock(), list[tuple[str, float]]()
    began = clock.time()

    def first(what: str) -> None:
        late.append((what, clock.time() - began))
        if what == "a":
            waits.arm("b")

    waits = deadlines(clock, first)
    waits.arm("a")
    waits.arm("b")
    clock.advance(100)
    assert late == [("a", 10.0), ("b", 20.0)]


def test_one_that_fails_takes_nobody_s_end_away() -> None:
    clock, late = Clock(), list[str]()

    def failing(what: str) -> None:
        late.append(what)
        if what == "a":
            raise RuntimeError

    waits = deadlines(clock, failing)
    for name in ("a", "b", "c"):
        waits.arm(name)
    with pytest.raises(RuntimeError):
        clock.advance(10)
    clock.advance(0)
    assert late == ["a", "b", "c"]


def test_whoever_closes_while_things_expire_ends_them_all() -> None:
    clock, late = Clock(), list[str]()

    def close(what: str) -> None:
        late.append(what)
        waits.close()

    waits = deadlines(clock, close)
    waits.arm("a")
    waits.arm("b")
    clock.advance(100)
    assert (late, clock.timers) == (["a"], 0)


steps = st.lists(
    st.tuples(st.sampled_from(["arm", "disarm", "wait"]), st.sampled_from("abc"), st.integers(0, 12)), max_size=40
)


@given(steps)
def test_each_expires_exactly_so_long_after_it_was_last_armed(drawn: list[tuple[str, str, int]]) -> None:
    clock = Clock()
    late: list[tuple[str, float]] = []
    expected: list[tuple[str, float]] = []
    armed: dict[str, float] = {}
    waits = deadlines(clock, lambda what: late.append((what, clock.time())))

    def wait(seconds: float) -> None:
        end = clock.time() + seconds
        for what, due in sorted(armed.items(), key=lambda each: each[1]):
            if due <= end:
                expected.append((what, due))
                del armed[what]
        clock.advance(seconds)

    for step, what, seconds in drawn:
        if step == "arm":
            armed.pop(what, None)
            armed[what] = clock.time() + 10
            waits.arm(what)
        elif step == "disarm":
            armed.pop(what, None)
            waits.disarm(what)
        else:
            wait(seconds)
        assert len(waits) == len(armed)
        assert waits.oldest() == next(iter(armed), None)
    wait(10)
    assert late == expected
