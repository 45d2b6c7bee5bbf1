from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tokens.timestamp import format_timestamp, parse_timestamp

NOON = int(datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2026-11-24T12:00:00Z", id="UTC"),
        pytest.param("2026-11-24t12:00:00z", id="small letters (RFC 3339 5.6)"),
        pytest.param("2026-11-24T12:00:00+00:00", id="an offset of nought"),
        pytest.param("2026-11-24T12:00:00-00:00", id="an unknown offset"),
        pytest.param("2026-11-24T14:30:00+02:30", id="east of Greenwich"),
        pytest.param("2026-11-24T04:00:00-08:00", id="west of Greenwich"),
        pytest.param("2026-11-25T11:59:00+23:59", id="the largest offset"),
        pytest.param("2026-11-24T12:00:00.5Z", id="a fraction is dropped"),
        pytest.param("2026-11-24T12:00:00.999999999Z", id="a fraction of nine digits is dropped, not rounded"),
    ],
)
def test_one_moment_has_many_spellings(text: str) -> None:
    assert parse_timestamp(text) == NOON


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("2026-11-24", id="only a date"),
        pytest.param("2026-11-24T12:00:00", id="no offset"),
        pytest.param("2026-11-24 12:00:00Z", id="a space for the T"),
        pytest.param("2026-11-24T12:00Z", id="no seconds"),
        pytest.param("20261124T120000Z", id="the basic form of ISO 8601"),
        pytest.param("2026-11-24T12:00:00+0000", id="an offset without a colon"),
        pytest.param("2026-11-24T12:00:00.Z", id="a point without digits"),
        pytest.param("2026-11-24T12:00:00,5Z", id="a comma"),
        pytest.param("2026-11-24T12:00:00.1234567890Z", id="ten digits"),
        pytest.param("2026-13-01T00:00:00Z", id="month 13"),
        pytest.param("2026-00-01T00:00:00Z", id="month 0"),
        pytest.param("2026-02-29T00:00:00Z", id="a 29th of February that was not"),
        pytest.param("2026-11-24T24:00:00Z", id="hour 24"),
        pytest.param("2026-11-24T12:60:00Z", id="minute 60"),
        pytest.param("2026-12-31T23:59:60Z", id="a leap second"),
        pytest.param("2026-11-24T12:00:00+24:00", id="an offset of 24 hours"),
        pytest.param("2026-11-24T12:00:00+01:60", id="an offset with minute 60"),
        pytest.param("2026-11-24T12:00:00+01:99", id="an offset with minute 99"),
        pytest.param("0000-01-01T00:00:00Z", id="year 0"),
        pytest.param("0001-01-01T00:00:00+01:00", id="before year 1 in UTC"),
        pytest.param("9999-12-31T23:59:59-01:00", id="after year 9999 in UTC"),
        pytest.param("+12026-11-24T12:00:00Z", id="a year of five digits"),
        pytest.param("2026-11-24T12:00:00Z\n", id="a line end behind it"),
        pytest.param(" 2026-11-24T12:00:00Z", id="a space before it"),
        pytest.param("202\u0666-11-24T12:00:00Z", id="a digit beyond ASCII"),
        pytest.param("1795608000", id="Unix seconds"),
        pytest.param("now", id="a word"),
    ],
)
def test_what_is_no_date_and_time_of_rfc_3339_is_refused(text: str) -> None:
    assert parse_timestamp(text) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(NOON, "2026-11-24T12:00:00Z", id="this century"),
        pytest.param(0, "1970-01-01T00:00:00Z", id="the epoch"),
        pytest.param(-1, "1969-12-31T23:59:59Z", id="before the epoch"),
        pytest.param(253402300799, "9999-12-31T23:59:59Z", id="the last"),
        pytest.param(-62135596800, "0001-01-01T00:00:00Z", id="the first"),
    ],
)
def test_a_moment_is_written_in_utc_with_whole_seconds(seconds: int, text: str) -> None:
    assert format_timestamp(seconds) == text


offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=offsets))
@settings(deadline=None, max_examples=500)
def test_what_is_read_can_be_written_and_read_again(moment: datetime) -> None:
    seconds = parse_timestamp(moment.isoformat())
    if seconds is not None:
        assert parse_timestamp(format_timestamp(seconds)) == seconds
        assert 0 <= (moment - datetime.fromtimestamp(seconds, UTC)).total_seconds() < 1


@given(st.text("0123456789-:.+TtZz ", max_size=30))
@settings(deadline=None)
def test_no_text_breaks_the_reader(text: str) -> None:
    seconds = parse_timestamp(text)
    assert seconds is None or isinstance(seconds, int)
