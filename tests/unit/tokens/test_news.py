from support.records import NOW, TOKEN_ID, USER, secret_of, token

from gateway.tokens.news import Event, news_of, show_news


def test_news_name_the_token_its_owner_and_when() -> None:
    shown = show_news(news_of(Event.ROLLED, token(name="deploy", expires_on=NOW + 60), NOW + 0.9))
    assert shown == {
        "event": "token.rolled",
        "at": "2027-01-15T08:00:00Z",
        "token": {
            "id": TOKEN_ID,
            "name": "deploy",
            "owner": {"kind": "user", "id": USER},
            "expires_on": "2027-01-15T08:01:00Z",
        },
    }


def test_news_of_a_token_without_an_end_say_none_and_never_a_secret_or_its_digest() -> None:
    shown = str(show_news(news_of(Event.LEAKED, token(), NOW)))
    assert "expires_on" not in shown
    assert secret_of().reveal() not in shown
    assert token().digests[0].hex not in shown
