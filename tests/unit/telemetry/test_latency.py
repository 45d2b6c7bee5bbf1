import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.latency import BOUNDS, Histogram, Latencies

SECONDS = st.lists(st.floats(min_value=0, max_value=1000))


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        pytest.param(0.0, 0, id="no time at all"),
        pytest.param(BOUNDS[0], 0, id="a bound belongs to the bucket below it"),
        pytest.param(BOUNDS[0] * 1.001, 1, id="just over it"),
        pytest.param(BOUNDS[-1], len(BOUNDS) - 1, id="the last bound"),
        pytest.param(1e6, len(BOUNDS), id="over all bounds"),
    ],
)
def test_a_request_is_in_the_first_bucket_whose_bound_it_does_not_exceed(seconds: float, bucket: int) -> None:
    histogram = Histogram()
    histogram.observe([seconds])
    assert [place for place, count in enumerate(histogram.counts) if count] == [bucket]


@given(SECONDS)
def test_together_they_are_counted_as_one_by_one(seconds: list[float]) -> None:
    together, alone = Histogram(), Histogram()
    together.observe(seconds)
    for each in seconds:
        alone.observe([each])
    assert together.counts == alone.counts
    assert together.total == pytest.approx(sum(seconds))
    assert sum(together.counts) == len(seconds)


@given(SECONDS, SECONDS)
def test_the_sum_of_two_is_that_of_all(some: list[float], others: list[float]) -> None:
    one, other, both = Histogram(), Histogram(), Histogram()
    one.observe(some)
    other.observe(others)
    both.observe(some + others)
    one.add(other)
    assert one.counts == both.counts
    assert one.total == pytest.approx(both.total)


def test_an_api_of_which_nothing_came_back_has_no_upstream_s_part() -> None:
    latencies = Latencies()
    latencies.observe("a", [0.1], [])
    latencies.observe("a", [0.1], [])
    assert (sum(latencies.gateway["a"].counts), latencies.upstream) == (2, {})
