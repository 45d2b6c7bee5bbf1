from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.client_address import client_address, is_trusted, parse_address
from gateway.tokens.condition import Address, Network

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))
PROXY = ip_address("10.0.0.1")
STRANGER = ip_address("192.0.2.7")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        pytest.param("192.0.2.7", "192.0.2.7", id="IPv4"),
        pytest.param("192.0.2.7:443", "192.0.2.7", id="IPv4 with a port"),
        pytest.param("2001:db8::7", "2001:db8::7", id="IPv6"),
        pytest.param("2001:DB8:0::7", "2001:db8::7", id="IPv6 in another spelling"),
        pytest.param("[2001:db8::7]", "2001:db8::7", id="IPv6 in brackets"),
        pytest.param("[2001:db8::7]:443", "2001:db8::7", id="IPv6 with a port"),
        pytest.param("::ffff:192.0.2.7", "192.0.2.7", id="mapped"),
        pytest.param("[::ffff:c000:207]:443", "192.0.2.7", id="mapped, in hex, with a port"),
    ],
)
def test_an_address_is_read_with_or_without_its_port(text: str, address: str) -> None:
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("unknown", id="a word"),
        pytest.param("_hidden", id="an obfuscated node"),
        pytest.param("client.example", id="a name"),
        pytest.param("192.0.2", id="too short"),
        pytest.param("192.0.2.256", id="out of range"),
        pytest.param("192.0.2.07", id="a zero before a number"),
        pytest.param("192.0.2.7/32", id="a network"),
        pytest.param("192.0.2.7:", id="a colon and no port"),
        pytest.param("192.0.2.7:port", id="a port that is none"),
        pytest.param("[192.0.2.7]:", id="brackets and no port"),
        pytest.param("[2001:db8::7", id="an open bracket"),
        pytest.param("2001:db8::7]:1", id="a closed bracket"),
        pytest.param("2001:db8::1::7", id="two gaps"),
        pytest.param("fe80::1%eth0", id="a zone of the sender's machine"),
        pytest.param("::1%<script>", id="junk in the place of a zone"),
        pytest.param(" 192.0.2.7", id="a blank before it"),
        pytest.param("١٩٢.0.2.7", id="another alphabet's digits"),
        pytest.param("3221225991", id="a number"),
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        pytest.param("10.1.2.3", True, id="inside"),
        pytest.param("11.0.0.1", False, id="outside"),
        pytest.param("2001:db8:1::9", True, id="inside, IPv6"),
        pytest.param("2001:db8:2::9", False, id="outside, IPv6"),
        pytest.param(None, False, id="a Unix socket"),
    ],
)
def test_a_proxy_of_ours_is_one_in_the_networks(address: str | None, trusted: bool) -> None:  # noqa: FBT001
    assert is_trusted(ip_address(address) if address else None, PROXIES) is trusted


def trusting(trusted: Sequence[Network], *, unix: bool = False) -> Callable[[Address | None], bool]:
    """Who is a proxy of ours: addresses in `trusted`, and peers on a Unix socket if `unix`."""
    return lambda peer: unix if peer is None else is_trusted(peer, trusted)


def test_nobody_is_trusted_without_networks() -> None:
    assert not is_trusted(PROXY, ())


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        pytest.param("10.0.0.1", [b"192.0.2.7"], "192.0.2.7", id="one hop"),
        pytest.param("10.0.0.1", [b"192.0.2.7:4711"], "192.0.2.7", id="with a port"),
        pytest.param("10.0.0.1", [b"[2001:db8::7]:4711"], "2001:db8::7", id="IPv6 with a port"),
        pytest.param("10.0.0.1", [b"::ffff:192.0.2.7"], "192.0.2.7", id="mapped"),
        pytest.param("10.0.0.1", [b"203.0.113.9, 192.0.2.7"], "192.0.2.7", id="what the client says is not believed"),
        pytest.param("10.0.0.1", [b"192.0.2.7, 10.0.0.2"], "192.0.2.7", id="through two proxies"),
        pytest.param("10.0.0.1", [b"192.0.2.7", b"10.0.0.2"], "192.0.2.7", id="in two fields, in their order"),
        pytest.param("10.0.0.1", [b"192.0.2.7 ,\t10.0.0.2 ,, "], "192.0.2.7", id="blanks and empty items"),
        pytest.param("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3", id="a proxy itself asks"),
        pytest.param("10.0.0.1", [b"junk, 192.0.2.7"], "192.0.2.7", id="junk that no proxy passed on"),
        pytest.param("2001:db8:1::1", [b"192.0.2.7"], "192.0.2.7", id="an IPv6 proxy"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="a proxy that says nothing"),
        pytest.param("10.0.0.1", [b" , "], "10.0.0.1", id="a proxy that says nothing, in words"),
        pytest.param("192.0.2.7", [b"203.0.113.9"], "192.0.2.7", id="a stranger that says something"),
        pytest.param("192.0.2.7", [b"junk"], "192.0.2.7", id="a stranger that says junk"),
        pytest.param(None, [b"203.0.113.9"], None, id="a Unix socket"),
    ],
)
def test_the_client_is_the_first_from_right_to_left_that_is_no_proxy_of_ours(
    peer: str | None, forwarded_for: list[bytes], address: str | None
) -> None:
    found = client_address(ip_address(peer) if peer else None, forwarded_for, trusting(PROXIES))
    assert found == (ip_address(address) if address else None)


@pytest.mark.parametrize(
    "forwarded_for",
    [
        pytest.param([b"unknown"], id="a word"),
        pytest.param([b"192.0.2.7, junk"], id="a word behind an address"),
        pytest.param([b"192.0.2.7, unknown, 10.0.0.2"], id="a word between"),
        pytest.param([b"\xff"], id="a byte that is no text"),
        pytest.param([b"\xef\xbc\x91.0.2.7"], id="a wide digit"),
    ],
)
def test_junk_from_a_proxy_of_ours_is_no_address_at_all(forwarded_for: list[bytes]) -> None:
    assert client_address(PROXY, forwarded_for, trusting(PROXIES)) is None
    assert client_address(None, forwarded_for, trusting(PROXIES, unix=True)) is None


@pytest.mark.parametrize(
    ("forwarded_for", "address"),
    [
        pytest.param([b"192.0.2.7"], "192.0.2.7", id="one hop"),
        pytest.param([b"203.0.113.9, 192.0.2.7"], "192.0.2.7", id="what the client says is not believed"),
        pytest.param([b"192.0.2.7, 10.0.0.2"], "192.0.2.7", id="through another proxy"),
        pytest.param([], None, id="who says nothing has no address"),
    ],
)
def test_a_peer_on_a_unix_socket_is_believed_where_it_is_a_proxy_of_ours(
    forwarded_for: list[bytes], address: str | None
) -> None:
    found = client_address(None, forwarded_for, trusting(PROXIES, unix=True))
    assert found == (ip_address(address) if address else None)


addresses = st.ip_addresses()
networks = st.ip_addresses().map(ip_network)


@given(addresses, st.lists(st.binary(max_size=20), max_size=3))
def test_without_trust_the_peer_is_the_client_whatever_is_sent(peer: Address, forwarded_for: list[bytes]) -> None:
    assert client_address(peer, forwarded_for, trusting(())) == peer


@given(st.lists(addresses, max_size=4), st.lists(networks, max_size=3))
def test_a_stranger_cannot_add_a_hop_that_counts(said: list[Address], trusted: list[Network]) -> None:
    """What our proxy appends is what it saw; all before that is the client's to say."""
    seen = STRANGER
    trusted = [network for network in trusted if seen not in network]
    forwarded_for = ", ".join(map(str, [*said, seen])).encode()
    assert client_address(PROXY, [forwarded_for], trusting([*PROXIES, *trusted])) == seen
    assert client_address(None, [forwarded_for], trusting(trusted, unix=True)) == seen
