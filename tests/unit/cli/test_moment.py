import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import NOW

from gateway.cli.moment import FORMS, SPANS, parse_moment, parse_span
from gateway.tokens.timestamp import format_timestamp

MIDNIGHT = 1_801_353_600  # 2027-01-31T00:00:00Z


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("2027-01-31", MIDNIGHT, id="a date is the start of that UTC day"),
        pytest.param("2027-01-31T00:00:00Z", MIDNIGHT, id="RFC 3339"),
        pytest.param("2027-01-31T02:00:00+02:00", MIDNIGHT, id="RFC 3339 with an offset"),
        pytest.param("30d", NOW + 30 * 86400, id="days from now"),
        pytest.param("12h", NOW + 12 * 3600, id="hours from now"),
        pytest.param("45m", NOW + 45 * 60, id="minutes from now"),
        pytest.param("999999d", NOW + 999999 * 86400, id="the longest span"),
        pytest.param("0d", None, id="no span at all"),
        pytest.param("-1d", None, id="a span back"),
        pytest.param("1.5h", None, id="a part of an hour"),
        pytest.param("1000000d", None, id="beyond the longest span"),
        pytest.param("30", None, id="no unit"),
        pytest.param("30D", None, id="a unit in capitals"),
        pytest.param("1w", None, id="a unit that is not known"),
        pytest.param("٣0d", None, id="a digit that is not ASCII"),
        pytest.param("2027-02-30", None, id="a day that is not in the calendar"),
        pytest.param("2027-01-31T00:00:00", None, id="a time without an offset"),
        pytest.param("tomorrow", None, id="a word"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_moment_is_a_date_and_time_or_a_date_or_a_span_from_now(text: str, seconds: int | None) -> None:
    assert parse_moment(text, NOW + 0.9) == seconds


@pytest.mark.parametrize("text", ["2027-01-31T12:00:00Z", "2027-01-31", "30d", "12h", "45m"])
def test_each_form_that_the_help_names_is_read(text: str) -> None:
    assert text in FORMS
    assert parse_moment(text, NOW) is not None


@given(st.integers(min_value=1, max_value=999999), st.sampled_from("dhm"))
def test_every_span_can_be_sent(count: int, unit: str) -> None:
    seconds = parse_moment(f"{count}{unit}", NOW)
    assert seconds is not None
    assert parse_moment(format_timestamp(seconds), 0) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("30d", 30 * 86400, id="days"),
        pytest.param("12h", 12 * 3600, id="hours"),
        pytest.param("45m", 45 * 60, id="minutes"),
        pytest.param("90s", 90, id="seconds"),
        pytest.param("0s", None, id="no span at all"),
        pytest.param("90", None, id="no unit"),
        pytest.param("1h30m", None, id="two of them"),
        pytest.param("-1s", None, id="a span back"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_span_is_a_number_and_a_unit(text: str, seconds: int | None) -> None:
    assert parse_span(text) == seconds


def test_the_spans_that_people_are_told_are_read() -> None:
    assert all(parse_span(text) for text in SPANS.replace(" or", ",").split(", "))
