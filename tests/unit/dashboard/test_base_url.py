import pytest

from gateway.dashboard.base_url import base_url
from gateway.settings import Admin, Listen, ListenTls, Settings

TLS = ListenTls(cert="cert.pem", key="key.pem")


@pytest.mark.parametrize(
    ("listen", "admin", "url"),
    [
        pytest.param(Listen(), Admin(), "http://127.0.0.1:8080/client/v4", id="as it is set"),
        pytest.param(Listen(host="::1", prefix="/api"), Admin(), "http://[::1]:8080/api", id="IPv6, another prefix"),
        pytest.param(Listen(host="gate.example", tls=TLS), Admin(), "https://gate.example:8080/client/v4", id="TLS"),
        pytest.param(Listen(host="0.0.0.0"), Admin(), "http://admin.example:8080/client/v4", id="on all addresses"),  # noqa: S104
        pytest.param(Listen(host="::"), Admin(), "http://admin.example:8080/client/v4", id="on all, IPv6 too"),
        pytest.param(Listen(token_api=False), Admin(), "http://admin.example:8081/client/v4", id="no token API there"),
        pytest.param(
            Listen(port=0, unix="/run/zonegate"), Admin(tls=TLS), "https://admin.example:8081/client/v4", id="no port"
        ),
    ],
)
def test_the_base_url_is_where_clients_find_the_token_api(listen: Listen, admin: Admin, url: str) -> None:
    assert base_url(Settings(listen=listen, admin=admin), "admin.example:8081") == url


@pytest.mark.parametrize(
    ("asked", "host"),
    [("admin.example", "admin.example"), ("[::1]:8081", "[::1]"), ("[::1]", "[::1]"), ("127.0.0.1:8081", "127.0.0.1")],
)
def test_a_listener_on_all_addresses_has_the_name_by_which_we_were_asked(asked: str, host: str) -> None:
    assert base_url(Settings(listen=Listen(host="0.0.0.0")), asked) == f"http://{host}:8080/client/v4"  # noqa: S104
