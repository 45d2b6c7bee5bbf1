from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tokens.rate import Grant, Rate, in_words, take, worth

DAY = 86400
SLOW, FAST = Rate(4, 60), Rate(1200, 300)


@pytest.mark.parametrize(
    ("rate", "lack", "passed", "wanted", "expected"),
    [
        pytest.param(SLOW, 0, 0, 1, Grant(1, 3, 15, 0), id="a bucket that nobody used is full"),
        pytest.param(SLOW, 45, 99, 1, Grant(1, 3, 15, 0), id="one that has filled up is too"),
        pytest.param(SLOW, 45, 0, 1, Grant(1, 0, 60, 15), id="the last of them"),
        pytest.param(SLOW, 60, 14, 1, Grant(0, 0, 46, 1), id="empty for a second more"),
        pytest.param(SLOW, 60, 15, 1, Grant(1, 0, 60, 15), id="filled up by one"),
        pytest.param(SLOW, DAY, 0, 1, Grant(0, 0, 60, 15), id="it had a longer period before"),
        pytest.param(SLOW, DAY, 0, 0, Grant(0, 0, DAY, DAY - 45), id="the same, and none is wanted"),
        pytest.param(SLOW, 60, -DAY, 1, Grant(0, 0, 60, 15), id="a clock was set back"),
        pytest.param(Rate(1, 60), 0, 0, 1, Grant(1, 0, 60, 60), id="one in a minute"),
        pytest.param(SLOW, 0, 0, 0, Grant(0, 4, 0, 0), id="none is wanted"),
        pytest.param(FAST, 0, 0, 60, Grant(60, 1140, 15, 0), id="a slice"),
        pytest.param(FAST, 290, 0, 60, Grant(10, 30, 292.5, 0), id="a quarter of what is left"),
        pytest.param(FAST, 299, 0, 60, Grant(1, 3, 299.25, 0), id="but at least one"),
    ],
)
def test_a_bucket_gives_what_it_has(rate: Rate, lack: float, passed: float, wanted: int, expected: Grant) -> None:
    assert take(rate, lack, passed, wanted) == expected


rates = st.builds(Rate, st.integers(1, 2000), st.integers(1, 30 * DAY))
pauses = st.lists(
    st.one_of(st.just(0.0), st.floats(0, 0.01), st.floats(0, 20), st.floats(0, 3 * DAY)),
    max_size=200,
)


def passing(rate: Rate, pauses: Sequence[float]) -> list[float]:
    """The moments at which a request passes, of all those that come after these pauses."""
    now, lack, passed = 0.0, 0.0, []
    for pause in pauses:
        now += pause
        grant = take(rate, lack, pause, 1)
        lack = grant.lack
        passed += [now] * grant.count
    return passed


@given(st.builds(Rate, st.integers(1, 20), st.integers(1, 60)), pauses)
def test_in_no_stretch_of_time_pass_more_than_its_requests_and_one_for_each_interval(
    rate: Rate, pauses: Sequence[float]
) -> None:
    passed = passing(rate, pauses)
    for first, begun in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= rate.requests + (passed[last] - begun) * rate.requests / rate.period + 1e-3


@given(rates)
def test_all_its_requests_may_be_used_at_once(rate: Rate) -> None:
    assert len(passing(rate, [0.0] * (rate.requests + 5))) == rate.requests


@given(rates, st.floats(0, 5))
def test_after_the_wait_there_is_one_more_and_not_before(rate: Rate, more: float) -> None:
    lack, wait = float(rate.period), worth(rate, 1)
    assert take(rate, lack, 0, 1) == Grant(0, 0, lack, pytest.approx(wait))
    assert take(rate, lack, wait + more, 1).count == 1
    assert take(rate, lack, wait * 0.999, 1).count == 0


@given(rates, rates, pauses)
def test_a_rate_within_another_passes_no_more_than_the_other(one: Rate, other: Rate, pauses: list[float]) -> None:
    if one.within(other):
        assert len(passing(one, pauses)) <= len(passing(other, pauses))


@pytest.mark.parametrize(
    ("one", "other", "within"),
    [
        pytest.param(Rate(10, 60), Rate(10, 60), True, id="the same"),
        pytest.param(Rate(5, 60), Rate(10, 60), True, id="fewer"),
        pytest.param(Rate(10, 120), Rate(10, 60), True, id="as many in a longer time"),
        pytest.param(Rate(11, 60), Rate(10, 60), False, id="more"),
        pytest.param(Rate(10, 30), Rate(10, 60), False, id="as many in a shorter time"),
        pytest.param(Rate(20, 120), Rate(10, 60), False, id="more at once, as many in all"),
        pytest.param(Rate(5, 29), Rate(10, 60), False, id="fewer at once, more in all"),
    ],
)
def test_a_rate_lies_within_another_at_once_and_in_the_long_run(one: Rate, other: Rate, *, within: bool) -> None:
    assert one.within(other) is within


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        pytest.param(Rate(1200, 300), "1200 requests in 300 s", id="many"),
        pytest.param(Rate(1, 60), "1 request in 60 s", id="one"),
    ],
)
def test_a_rate_is_told_in_words(rate: Rate, words: str) -> None:
    assert in_words(rate) == words
