import pytest

from gateway.telemetry.kind import Kind
from gateway.telemetry.redaction import Redaction

KIND = Kind("GET", "cloudflare-dns", "GET /a", "0" * 32, None, "192.0.2.77", 200, "user:" + "a" * 32)


@pytest.mark.parametrize(
    ("names", "hidden"),
    [
        pytest.param((), {}, id="nothing"),
        pytest.param(("token",), {"token": ""}, id="the token"),
        pytest.param(("owner", "token"), {"owner": "", "token": ""}, id="the token and its owner"),
        pytest.param(("address",), {"address": "192.0.2.0/24"}, id="the address, but for its network"),
        pytest.param(("path",), {}, id="the path, which is no part of what is counted"),
    ],
)
def test_what_is_to_be_left_out_is_left_out_and_nothing_else(names: tuple[str, ...], hidden: dict[str, str]) -> None:
    redaction = Redaction(names)
    assert redaction.shown(KIND) == KIND._replace(**hidden)  # type: ignore[arg-type]
    assert redaction.hides_path == ("path" in names)
    assert bool(redaction) == bool(names)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        pytest.param("192.0.2.255", "192.0.2.0/24", id="IPv4"),
        pytest.param("2001:db8:1:2::3", "2001:db8:1::/48", id="IPv6"),
        pytest.param("fe80::1%eth0", "fe80::/48", id="IPv6 with a zone"),
        pytest.param("", "", id="none: a Unix socket"),
    ],
)
def test_of_an_address_its_network_stays(address: str, network: str) -> None:
    assert Redaction(("address",)).shown(KIND._replace(address=address)).address == network
