import msgspec
import pytest
from unit.telemetry.numbers import API, ROUTE, snapshot

from gateway.telemetry.snapshot import Snapshot, request_key, split_key, sum_of


def test_a_sum_has_what_was_counted_and_nothing_of_the_moment() -> None:
    found = sum_of([snapshot(2), snapshot(3)])
    assert found.requests == {request_key(API, ROUTE, "", 200): 5}
    assert found.totals == {"zonegate_cache_hits": 5}
    assert sum(found.gateway[API].counts) == 5
    assert found.gateway[API].total == pytest.approx(0.005)
    assert found.now is None


def test_what_is_summed_stays_as_it_is() -> None:
    one = snapshot(2)
    sum_of([one, snapshot(3)])
    assert one == snapshot(2)


def test_it_is_read_as_it_was_written() -> None:
    assert msgspec.json.decode(msgspec.json.encode(snapshot()), type=Snapshot) == snapshot()


def test_what_is_counted_apart_is_told_apart() -> None:
    assert split_key(request_key(API, "", "bad_request", 400)) == [API, "", "bad_request", "400"]
