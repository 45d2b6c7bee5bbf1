import pytest

from gateway.cli.address import BadAddress, parse_token, parse_url, url_of
from gateway.settings import Admin, Listen, Settings


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080/client/v4", "http://127.0.0.1:8080/client/v4"),
        ("https://gate.example/client/v4/", "https://gate.example/client/v4"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_base_url_loses_its_final_slash(text: str, url: str) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:8080/client/v4",
        "ftp://gate.example",
        "http://",
        "http://user:password@gate.example/client/v4",
        "http://gate.example:0/",
        "http://gate.example:99999/",
        "http://gate.example:x/",
        "http://[::1/",
        "http://gate.example/client v4",
        "http://gate.example/\u202e",
        "http://gate.example/client/v4?x=1",
        "http://gate.example/client/v4?",
        "http://gate.example/client/v4#x",
    ],
)
def test_what_is_no_base_url_is_one_line_that_does_not_show_it(text: str) -> None:
    with pytest.raises(BadAddress) as bad:
        parse_url(text)
    assert str(bad.value).startswith("ZONEGATE_URL: ")
    assert "password@" not in str(bad.value)


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_no_token_is_one_line_with_the_remedy(text: str | None) -> None:
    with pytest.raises(BadAddress, match=r"^ZONEGATE_TOKEN: not set; .*zonegate init"):
        parse_token(text)


@pytest.mark.parametrize("text", ["Bearer zgt_secret", "zgt_secret\r\nX: y", "zgt_sécret", "zgt_secret\udcff"])
def test_what_no_header_could_carry_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(BadAddress) as bad:
        parse_token(text)
    assert str(bad.value).startswith("ZONEGATE_TOKEN: not a secret")
    assert "zgt_" not in str(bad.value)


def test_blanks_around_a_token_are_the_shells() -> None:
    assert parse_token(" zgt_x\n").reveal() == "zgt_x"


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        pytest.param(Settings(), "http://127.0.0.1:8080/client/v4", id="the defaults"),
        pytest.param(
            Settings(listen=Listen(host="0.0.0.0", port=80, prefix="/v1")),  # noqa: S104
            "http://127.0.0.1:80/v1",
            id="every IPv4 address",
        ),
        pytest.param(
            Settings(listen=Listen(host="::", port=80, prefix="")), "http://[::1]:80", id="every IPv6 address"
        ),
        pytest.param(
            Settings(listen=Listen(token_api=False)), "http://127.0.0.1:8081/client/v4", id="only the admin listener"
        ),
    ],
)
def test_without_a_url_the_settings_say_where_the_token_api_is(settings: Settings, url: str) -> None:
    assert url_of(settings) == url
    assert parse_url(url) == url


def test_settings_without_any_token_api_are_one_line() -> None:
    with pytest.raises(BadAddress, match="by the settings no listener has the token API"):
        url_of(Settings(listen=Listen(token_api=False), admin=Admin(enabled=False)))
