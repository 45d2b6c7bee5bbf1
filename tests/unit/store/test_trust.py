from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.store.redis_store import Meta
from gateway.store.trust import LASTS, Sent, Trust

NOW = 1000.0


def meta(sequence: int = 5, generation: str | None = "g") -> Meta:
    return Meta(generation=generation, frozen=None, sequence=sequence)


def send(trust: Trust, at: float = NOW, nonce: str = "nonce", **said: Any) -> None:
    """The store is asked, and a nonce goes out."""
    trust.sent(nonce, Sent(at=at, meta=meta(**said), last=trust.last))


def beat(trust: Trust, at: float = NOW, back: float | None = None, **said: Any) -> bool:
    """The store is asked, and a nonce goes out and comes back. Returns whether all is to be forgotten."""
    send(trust, at, **said)
    return trust.returned("nonce", at if back is None else back)


@pytest.fixture
def trust() -> Trust:
    """Subscribed."""
    found = Trust()
    found.begin()
    return found


@pytest.fixture
def trusting(trust: Trust) -> Trust:
    """Trusted since NOW; the last number is 5."""
    beat(trust)
    return trust


# For how long.


def test_nothing_is_believed_before_a_nonce_came_back() -> None:
    trust = Trust()
    assert not trust.holds(NOW)
    trust.begin()
    assert not trust.holds(NOW)
    send(trust)
    assert not trust.holds(NOW)


@pytest.mark.parametrize("back", [NOW, NOW + 0.5, NOW + 2.9])
def test_trust_lasts_for_three_seconds_from_when_the_nonce_was_sent_whenever_it_came_back(
    trust: Trust, back: float
) -> None:
    beat(trust, NOW, back)
    assert (LASTS, trust.until) == (3.0, NOW + 3)
    assert trust.holds(NOW + 2.99)
    assert not trust.holds(NOW + 3)


def test_a_nonce_that_came_back_too_late_is_of_no_use(trust: Trust) -> None:
    beat(trust, NOW, NOW + 3)
    assert not trust.holds(NOW + 3)


def test_an_older_nonce_shortens_nothing_and_prolongs_nothing(trust: Trust) -> None:
    send(trust, NOW, "older")
    send(trust, NOW + 1, "newer")
    trust.returned("newer", NOW + 1.1)
    assert not trust.returned("older", NOW + 1.2)
    assert trust.until == NOW + 4


@pytest.mark.parametrize("nonce", ["another", "", "NONCE"])
def test_a_nonce_that_was_never_sent_counts_for_nothing(trust: Trust, nonce: str) -> None:
    send(trust)
    assert not trust.returned(nonce, NOW)
    assert not trust.holds(NOW)


def test_a_nonce_counts_once(trusting: Trust) -> None:
    assert not trusting.returned("nonce", NOW + 2)
    assert trusting.until == NOW + 3


def test_a_nonce_of_an_earlier_connection_counts_for_nothing(trust: Trust) -> None:
    send(trust)
    trust.end(NOW)
    trust.begin()
    assert not trust.returned("nonce", NOW)
    assert not trust.holds(NOW)


def test_a_nonce_that_went_out_on_a_connection_that_was_gone_counts_for_nothing_on_the_next(trust: Trust) -> None:
    trust.end(NOW)
    send(trust)
    trust.begin()
    assert not trust.returned("nonce", NOW)
    assert not trust.holds(NOW)


def test_a_nonce_that_comes_back_after_the_connection_is_gone_counts_for_nothing(trust: Trust) -> None:
    trust.end(NOW)
    assert not beat(trust)
    assert not trust.holds(NOW)


# When all is to be forgotten.


def test_what_was_remembered_is_forgotten_before_the_first_trust_of_a_connection(trust: Trust) -> None:
    assert beat(trust)
    assert not beat(trust, NOW + 1)
    trust.end(NOW + 2)
    trust.begin()
    assert beat(trust, NOW + 2.1)
    assert not beat(trust, NOW + 3)


def test_a_new_connection_forgets_even_if_nobody_saw_the_old_one_end(trusting: Trust) -> None:
    trusting.begin()
    assert beat(trusting, NOW + 1)


def test_trust_that_lapsed_begins_by_forgetting(trusting: Trust) -> None:
    assert not beat(trusting, NOW + 2, NOW + 2.9)
    assert beat(trusting, NOW + 4, NOW + 5)
    assert trusting.holds(NOW + 5)


@pytest.mark.parametrize(
    ("numbers", "gaps"),
    [
        pytest.param([6, 7, 8], [False, False, False], id="one after the other"),
        pytest.param([7], [True], id="a gap"),
        pytest.param([6, 8, 9], [False, True, False], id="a gap, and on from there"),
        pytest.param([5], [True], id="doubled"),
        pytest.param([6, 6], [False, True], id="doubled later"),
        pytest.param([4, 5], [True, False], id="older, and on from there"),
        pytest.param([1, 6], [True, True], id="older, and back"),
        pytest.param([10**18], [True], id="far away"),
    ],
)
def test_a_number_that_is_not_the_last_plus_one_forgets_everything(
    trusting: Trust, numbers: list[int], gaps: list[bool]
) -> None:
    assert [trusting.number(number) for number in numbers] == gaps
    assert trusting.last == numbers[-1]


def test_the_first_number_of_a_connection_is_taken_as_it_is(trust: Trust) -> None:
    assert not trust.number(77)
    assert trust.number(79)
    trust.begin()
    assert not trust.number(5)


@pytest.mark.parametrize(
    ("messages", "said", "forget"),
    [
        pytest.param([], {"sequence": 5}, False, id="nothing has happened"),
        pytest.param([6, 7], {"sequence": 7}, False, id="all that was told"),
        pytest.param([], {"sequence": 6}, True, id="a number that never came as a message"),
        pytest.param([6], {"sequence": 9}, True, id="three numbers that never came"),
        pytest.param([], {"sequence": 4}, True, id="an older number: an older copy was restored"),
        pytest.param([6], {"sequence": 0}, True, id="no number at all"),
        pytest.param([], {"generation": "other"}, True, id="another generation"),
        pytest.param([], {"generation": None}, True, id="no generation: the store was emptied"),
        pytest.param([], {"generation": None, "sequence": 0}, True, id="nothing at all"),
    ],
)
def test_what_the_store_says_of_itself_has_to_be_what_messages_told(
    trusting: Trust,
    messages: list[int],
    said: dict[str, Any],
    forget: bool,  # noqa: FBT001 - a case's data
) -> None:
    for number in messages:
        trusting.number(number)
    assert beat(trusting, NOW + 1, **said) is forget
    assert trusting.holds(NOW + 1)
    assert beat(trusting, NOW + 2, **said) is (said.get("generation", "g") is None)


def test_a_message_that_comes_between_the_question_and_the_nonce_is_no_surprise(trusting: Trust) -> None:
    send(trusting, NOW + 1, sequence=5)
    assert not trusting.number(6)
    assert not trusting.returned("nonce", NOW + 1)
    assert not trusting.number(7)


def test_a_message_that_comes_between_the_question_and_its_answer_is_no_surprise(trusting: Trust) -> None:
    last = trusting.last
    trusting.number(6)
    trusting.sent("nonce", Sent(at=NOW + 1, meta=meta(6), last=last))
    assert not trusting.returned("nonce", NOW + 1)


def test_an_empty_store_that_was_given_a_generation_is_another_store(trusting: Trust) -> None:
    assert beat(trusting, NOW + 1, sequence=0, generation=None)
    assert beat(trusting, NOW + 2, sequence=0, generation="new")
    assert not beat(trusting, NOW + 3, sequence=0, generation="new")


# The end of trust.


def test_a_failed_probe_ends_trust_at_once_and_the_next_good_nonce_forgets_everything(trusting: Trust) -> None:
    trusting.doubt(NOW + 1)
    assert not trusting.holds(NOW + 1)
    assert beat(trusting, NOW + 1.5)
    assert trusting.holds(NOW + 1.5)


def test_a_nonce_that_was_under_way_at_a_failed_probe_restores_nothing(trusting: Trust) -> None:
    send(trusting, NOW + 0.9)
    trusting.doubt(NOW + 1)
    assert not trusting.returned("nonce", NOW + 1)
    assert not trusting.holds(NOW + 1)


def test_a_broken_connection_ends_trust_at_once(trusting: Trust) -> None:
    trusting.end(NOW + 1)
    assert not trusting.holds(NOW + 1)


def test_a_doubt_before_the_first_trust_changes_nothing(trust: Trust) -> None:
    trust.doubt(NOW)
    assert trust.since(NOW) == float("inf")
    assert beat(trust)
    assert trust.holds(NOW)


@pytest.mark.parametrize(
    ("loss", "now", "seconds", "broke"),
    [
        pytest.param(None, NOW + 2.9, 0.0, False, id="trusted"),
        pytest.param(None, NOW + 3, 0.0, False, id="no nonce came back for three seconds"),
        pytest.param(None, NOW + 10, 7.0, False, id="it is long past"),
        pytest.param(Trust.end, NOW + 1, 0.0, True, id="broken off now"),
        pytest.param(Trust.end, NOW + 1.4, 0.4, True, id="broken off a moment ago"),
        pytest.param(Trust.end, NOW + 1.5, 0.5, False, id="broken off for longer than anybody waits"),
        pytest.param(Trust.end, NOW + 10, 9.0, False, id="broken off long ago"),
        pytest.param(Trust.doubt, NOW + 1.1, 0.1, True, id="a failed probe"),
    ],
)
def test_it_says_since_when_nothing_is_believed_and_whether_that_may_be_over_at_once(
    trusting: Trust,
    loss: Callable[[Trust, float], None] | None,
    now: float,
    seconds: float,
    broke: bool,  # noqa: FBT001 - a case's data
) -> None:
    if loss is not None:
        loss(trusting, NOW + 1)
    assert trusting.since(now) == pytest.approx(seconds)
    assert trusting.broke_within(0.5, now) is broke


@pytest.mark.parametrize("again", [Trust.end, Trust.doubt])
def test_a_loss_counts_from_its_beginning_whatever_fails_after_it(
    trusting: Trust, again: Callable[[Trust, float], None]
) -> None:
    again(trusting, NOW + 5)  # it had lapsed at NOW + 3
    again(trusting, NOW + 6)
    trusting.begin()
    assert trusting.since(NOW + 7) == pytest.approx(4)
    assert not trusting.broke_within(0.5, NOW + 5)


def test_a_loss_that_is_over_is_no_loss(trusting: Trust) -> None:
    trusting.end(NOW + 1)
    trusting.begin()
    beat(trusting, NOW + 1.1)
    assert trusting.since(NOW + 1.2) == 0
    assert not trusting.broke_within(0.5, NOW + 1.2)


@pytest.mark.parametrize(
    ("loss", "now", "lapsed"),
    [
        pytest.param(None, NOW + 2.9, False, id="trusted"),
        pytest.param(None, NOW + 3, True, id="no nonce came back for three seconds"),
        pytest.param(Trust.end, NOW + 9, False, id="broken off"),
        pytest.param(Trust.doubt, NOW + 9, False, id="a failed probe"),
    ],
)
def test_trust_lapses_when_answers_only_stop_coming(
    trusting: Trust,
    loss: Callable[[Trust, float], None] | None,
    now: float,
    lapsed: bool,  # noqa: FBT001 - a case's data
) -> None:
    if loss is not None:
        loss(trusting, NOW + 1)
    assert trusting.lapsed(now) is lapsed


def test_before_the_first_trust_nothing_was_ever_believed() -> None:
    assert Trust().since(NOW) == float("inf")
    assert not Trust().broke_within(0.5, NOW)
    assert not Trust().lapsed(NOW)


# The property: while trust holds, nothing that happened more than three seconds ago is unknown.

ASKING = 0.5
"""How long the store may take to say of itself what it says."""


class Network(RuleBasedStateMachine):
    """A server, a connection that delivers in order, or breaks, or loses a message, and whoever remembers one value."""

    def __init__(self) -> None:
        super().__init__()
        self.trust = Trust()
        self.now = NOW
        self.sequence, self.generation, self.value = 5, "g", 0
        self.lines: deque[int | str] = deque()
        self.connected = self.restored = False
        self.asked: tuple[float, Meta, int | None] | None = None
        self.nonces = 0
        self.remembered: int | None = None
        self.stale_since: float | None = None

    def forget(self) -> None:
        self.remembered = self.stale_since = None

    def becomes(self, value: int) -> None:
        if self.remembered == self.value:
            self.stale_since = self.now
        self.value = value
        if self.remembered == value:
            self.stale_since = None

    @rule(tenths=st.integers(1, 15))
    def time_passes(self, tenths: int) -> None:
        self.now += tenths / 10

    # The server.

    @rule(lost=st.integers(0, 9))
    def it_changes(self, lost: int) -> None:
        self.sequence += 1
        self.becomes(self.value + 1)
        if self.connected and (lost or self.restored):
            self.lines.append(self.sequence)

    @rule(back=st.integers(1, 5))
    def an_older_copy_is_restored(self, back: int) -> None:
        self.sequence = max(0, self.sequence - back)
        self.restored = True
        self.becomes(self.value + 1)

    @rule()
    def it_is_another_store(self) -> None:
        self.generation += "g"
        self.becomes(self.value + 1)

    # The connection.

    @precondition(lambda self: not self.connected)
    @rule()
    def it_is_subscribed(self) -> None:
        self.lines.clear()
        self.asked = None
        self.connected = True
        self.trust.begin()

    @precondition(lambda self: self.connected)
    @rule()
    def it_breaks(self) -> None:
        self.connected = False
        self.trust.end(self.now)

    @precondition(lambda self: self.connected)
    @rule()
    def a_probe_fails(self) -> None:
        self.trust.doubt(self.now)

    @precondition(lambda self: self.connected)
    @rule()
    def the_store_is_asked(self) -> None:
        said = Meta(generation=self.generation, frozen=None, sequence=self.sequence)
        self.asked = (self.now, said, self.trust.last)

    @precondition(lambda self: self.connected and self.asked is not None and self.now - self.asked[0] <= ASKING)
    @rule()
    def a_nonce_goes_out(self) -> None:
        assert self.asked is not None
        _, said, last = self.asked
        self.asked = None
        self.nonces += 1
        self.trust.sent(str(self.nonces), Sent(at=self.now, meta=said, last=last))
        self.lines.append(str(self.nonces))

    @precondition(lambda self: self.connected and self.lines)
    @rule()
    def a_line_comes(self) -> None:
        line = self.lines.popleft()
        if isinstance(line, int):
            if self.trust.number(line):
                self.forget()
            self.forget()  # a message is about the one value there is
        elif self.trust.returned(line, self.now):
            self.forget()

    # Whoever remembers.

    @precondition(lambda self: self.trust.holds(self.now))
    @rule()
    def it_is_read(self) -> None:
        self.remembered, self.stale_since = self.value, None

    @invariant()
    def nothing_old_is_unknown_while_it_is_believed(self) -> None:
        if self.trust.holds(self.now) and self.stale_since is not None:
            assert self.now - self.stale_since <= LASTS + ASKING

    @invariant()
    def it_is_believed_for_no_longer_than_three_seconds(self) -> None:
        assert self.trust.until <= self.now + LASTS
        assert self.connected or not self.trust.holds(self.now)


TestNetwork = Network.TestCase


# How late a message may be.


def test_the_lag_is_what_the_last_nonce_took(trust: Trust) -> None:
    beat(trust, NOW, NOW + 0.2)
    assert trust.lag(NOW + 0.5) == pytest.approx(0.2)
    beat(trust, NOW + 1, NOW + 1.1)
    assert trust.lag(NOW + 1.5) == pytest.approx(0.1)


def test_a_nonce_that_does_not_come_back_makes_the_lag_grow(trusting: Trust) -> None:
    send(trusting, NOW + 1, "late")
    send(trusting, NOW + 2, "later")
    assert trusting.lag(NOW + 2.5) == pytest.approx(1.5)


def test_while_nothing_is_believed_the_lag_is_since_when(trusting: Trust) -> None:
    trusting.end(NOW + 1)
    assert trusting.lag(NOW + 11) == pytest.approx(10)
