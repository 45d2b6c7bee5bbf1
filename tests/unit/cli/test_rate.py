import pytest

from gateway.cli.rate import parse_rate
from gateway.tokens.rate import Rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        pytest.param("1200/300s", Rate(1200, 300), id="seconds"),
        pytest.param("100/5m", Rate(100, 300), id="minutes"),
        pytest.param("1/1h", Rate(1, 3600), id="hours"),
        pytest.param("1000000/30d", Rate(1_000_000, 2_592_000), id="days, and the most there may be"),
        pytest.param("1000001/30d", None, id="too many"),
        pytest.param("1/31d", None, id="too long"),
        pytest.param("0/300s", None, id="none"),
        pytest.param("1200", None, id="no span"),
        pytest.param("1200/300", None, id="a span of nothing"),
        pytest.param("1200/0s", None, id="no time"),
        pytest.param("-1/300s", None, id="less than none"),
        pytest.param("1.5/300s", None, id="a part of one"),
        pytest.param("", None, id="nothing"),
        pytest.param("\u0661/300s", None, id="digits of another script"),
        pytest.param("1200/300s\n", None, id="a line end"),
    ],
)
def test_a_rate_is_so_many_in_a_span(text: str, rate: Rate | None) -> None:
    assert parse_rate(text) == rate
