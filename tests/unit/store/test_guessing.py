from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.guessing import MOST_UNKNOWN, WINDOW, GuessLimit, network_of
from gateway.tokens.condition import Address

NOW = 1000.0
HERE, THERE = network_of(ip_address("192.0.2.7")), network_of(ip_address("192.0.2.8"))


def guessed(*times: float) -> GuessLimit:
    """A limit that has counted an unknown id from HERE at each of `times`."""
    limit = GuessLimit()
    for time in times:
        limit.count(HERE, time)
    return limit


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param("192.0.2.7", "192.0.2.7", True, id="an IPv4 address"),
        pytest.param("192.0.2.7", "192.0.2.8", False, id="its neighbour"),
        pytest.param("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True, id="a /64"),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", False, id="the next /64"),
        pytest.param("0.0.0.0", "::", False, id="nought of either kind"),  # noqa: S104 - no listener
        pytest.param("0.0.0.7", "0:0:0:7::", False, id="the same number of either kind"),
        pytest.param(None, None, True, id="no address"),
        pytest.param(None, "0.0.0.0", False, id="no address and nought"),  # noqa: S104 - no listener
    ],
)
def test_a_client_is_an_ipv4_address_or_a_slash_64(one: str | None, other: str | None, same: bool) -> None:  # noqa: FBT001 - a case's data
    networks = [network_of(ip_address(each) if each else None) for each in (one, other)]
    assert (networks[0] == networks[1]) is same


@pytest.mark.parametrize(
    ("times", "now", "seconds"),
    [
        pytest.param([], NOW, 0.0, id="nothing"),
        pytest.param([NOW] * 9, NOW, 0.0, id="nine at once"),
        pytest.param([NOW] * 10, NOW, 1.0, id="ten at once"),
        pytest.param([NOW] * 99, NOW, 1.0, id="all that were under way"),
        pytest.param([NOW] * 10, NOW + 0.75, 0.25, id="until the second is over"),
        pytest.param([NOW] * 10, NOW + 1, 0.0, id="the second is over"),
        pytest.param([NOW, *[NOW + 0.5] * 9], NOW + 0.5, 0.5, id="the second begins with the first"),
        pytest.param([NOW, *[NOW + 1] * 9], NOW + 1, 0.0, id="nine in another second"),
        pytest.param([NOW, *[NOW + 1] * 10], NOW + 1, 1.0, id="ten in another second"),
        pytest.param([*[NOW] * 10, NOW + 5], NOW + 5, 0.0, id="one, long after"),
    ],
)
def test_ten_unknown_ids_in_a_second_are_enough_until_it_is_over(
    times: list[float], now: float, seconds: float
) -> None:
    assert (MOST_UNKNOWN, WINDOW) == (10, 1.0)
    assert guessed(*times).blocks(HERE, now) == pytest.approx(seconds)


def test_no_other_network_is_hurt() -> None:
    limit = guessed(*[NOW] * 10)
    assert limit.blocks(HERE, NOW) > 0
    assert limit.blocks(THERE, NOW) == 0


def test_to_ask_counts_nothing() -> None:
    limit = guessed(*[NOW] * 9)
    for _ in range(20):
        assert limit.blocks(HERE, NOW) == 0


def test_the_network_that_was_quiet_longest_is_forgotten_first() -> None:
    limit = guessed(*[NOW] * 10)
    for _ in range(10):
        limit.count(THERE, NOW)
    for number in range(9_998):
        limit.count((6, number), NOW)
    limit.count(HERE, NOW)
    limit.count((6, 9_999), NOW)
    assert len(limit._windows) == 10_000
    assert limit.blocks(HERE, NOW) > 0
    assert limit.blocks(THERE, NOW) == 0


@given(st.lists(st.integers(0, 30), max_size=60))
def test_nobody_who_guesses_slowly_is_blocked_and_nobody_is_blocked_for_longer_than_a_second(steps: list[int]) -> None:
    limit, now, counted = GuessLimit(), NOW, []
    for step in steps:
        now += step / 10
        seconds = limit.blocks(HERE, now)
        assert 0 <= seconds <= WINDOW
        recent = [time for time in counted if time > now - WINDOW]
        assert not seconds or len(recent) >= MOST_UNKNOWN
        if not seconds:
            limit.count(HERE, now)
            counted.append(now)
    assert all(sum(start <= time < start + WINDOW for time in counted) <= 2 * MOST_UNKNOWN for start in counted)


@given(st.ip_addresses())
def test_every_address_has_a_network_of_its_kind(address: Address) -> None:
    kind, number = network_of(address)
    match address:
        case IPv4Address():
            assert (kind, number) == (4, int(address))
        case IPv6Address():
            assert (kind, number << 64) == (6, int(address) & ~(2**64 - 1))
