from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.steps import steps

from gateway.tokens.condition import (
    Address,
    AddressRule,
    Condition,
    Network,
    RequestIp,
    compile_condition,
    parse_network,
    unmap,
)


def rule(allowed: tuple[str, ...] = (), not_in: tuple[str, ...] = ()) -> AddressRule:
    return AddressRule(Condition(RequestIp(allowed, not_in)))


@pytest.mark.parametrize(
    ("allowed", "not_in", "address", "admitted"),
    [
        pytest.param([], [], "192.0.2.1", True, id="no condition"),
        pytest.param(["192.0.2.0/24"], [], "192.0.2.0", True, id="v4: the first of the network"),
        pytest.param(["192.0.2.0/24"], [], "192.0.2.255", True, id="v4: the last of the network"),
        pytest.param(["192.0.2.0/24"], [], "192.0.3.0", False, id="v4: the one after it"),
        pytest.param(["192.0.2.0/24"], [], "192.0.1.255", False, id="v4: the one before it"),
        pytest.param(["192.0.2.7"], [], "192.0.2.7", True, id="v4: a single address is itself"),
        pytest.param(["192.0.2.7"], [], "192.0.2.8", False, id="v4: a single address is no other"),
        pytest.param(["0.0.0.0/0"], [], "203.0.113.9", True, id="v4: everywhere"),
        pytest.param(["0.0.0.0/0"], [], "2001:db8::1", False, id="all of v4 holds no v6"),
        pytest.param(["2001:db8::/32"], [], "2001:db8:ffff::1", True, id="v6: inside"),
        pytest.param(["2001:db8::/32"], [], "2001:db9::1", False, id="v6: outside"),
        pytest.param(["2001:db8::1"], [], "2001:db8::1", True, id="v6: a single address is itself"),
        pytest.param(["2001:db8::1"], [], "2001:db8::2", False, id="v6: a single address is no other"),
        pytest.param(["2001:DB8:0:0::1"], [], "2001:db8::1", True, id="v6: spelling does not matter"),
        pytest.param(["::ffff:192.0.2.0/120"], [], "192.0.2.200", True, id="mapped network, v4 address"),
        pytest.param(["::ffff:c000:207"], [], "192.0.2.7", True, id="mapped single address, in hexadecimal"),
        pytest.param(["::ffff:0:0/96"], [], "203.0.113.9", True, id="all mapped addresses are all of v4"),
        pytest.param(["192.0.2.0/24"], [], "::ffff:192.0.2.7", True, id="v4 network, mapped address"),
        pytest.param([], ["192.0.2.0/24"], "::ffff:192.0.2.7", False, id="excluded v4 network, mapped address"),
        pytest.param([], ["::ffff:192.0.2.0/120"], "192.0.2.7", False, id="excluded mapped network"),
        pytest.param(["192.0.2.0/24", "198.51.100.0/24"], [], "198.51.100.1", True, id="in: any of them"),
        pytest.param([], ["192.0.2.7"], "192.0.2.8", True, id="not_in alone admits the rest"),
        pytest.param([], ["192.0.2.7"], "2001:db8::1", True, id="not_in alone admits the other family"),
        pytest.param([], ["192.0.2.7", "192.0.2.8"], "192.0.2.8", False, id="not_in: none of them"),
        pytest.param(["192.0.2.0/24"], ["192.0.2.7"], "192.0.2.7", False, id="not_in beats in"),
        pytest.param(["192.0.2.0/24"], ["192.0.2.7"], "192.0.2.8", True, id="in, less not_in"),
        pytest.param(["192.0.2.7"], ["192.0.2.0/24"], "192.0.2.7", False, id="not_in beats a narrower in"),
    ],
)
def test_a_client_must_be_in_and_must_not_be_in_not_in(
    allowed: list[str], not_in: list[str], address: str, *, admitted: bool
) -> None:
    client = unmap(ip_address(address))
    assert rule(tuple(allowed), tuple(not_in)).admits(client) is admitted


@pytest.mark.parametrize(
    ("allowed", "not_in", "admitted"),
    [
        pytest.param((), (), True, id="no condition"),
        pytest.param(("0.0.0.0/0", "::/0"), (), False, id="even where every address may"),
        pytest.param((), ("192.0.2.7",), False, id="it cannot show that it is not excluded"),
    ],
)
def test_a_client_without_an_address_passes_no_condition(
    allowed: tuple[str, ...], not_in: tuple[str, ...], *, admitted: bool
) -> None:
    assert rule(allowed, not_in).admits(None) is admitted


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("localhost", id="a name"),
        pytest.param("*", id="a star"),
        pytest.param("192.0.2", id="three octets"),
        pytest.param("192.0.2.256", id="an octet too large"),
        pytest.param("192.0.2.01", id="a leading nought"),
        pytest.param("3221225985", id="a plain number"),
        pytest.param("192.0.2.0/33", id="a prefix too long for v4"),
        pytest.param("2001:db8::/129", id="a prefix too long for v6"),
        pytest.param("192.0.2.0/-1", id="a negative prefix"),
        pytest.param("192.0.2.0/", id="no prefix"),
        pytest.param("192.0.2.0/255.255.255.0", id="a netmask"),
        pytest.param("192.0.2.0/24/24", id="two prefixes"),
        pytest.param("192.0.2.1-192.0.2.9", id="a range"),
        pytest.param("192.0.2.0/2\u0664", id="a digit beyond ASCII"),
        pytest.param(" 192.0.2.0/24", id="a space before it"),
        pytest.param("192.0.2.0/24\n", id="a line end behind it"),
        pytest.param("fe80::1%eth0", id="a zone index"),
        pytest.param("2001:db8::1::2", id="two gaps"),
        pytest.param("[2001:db8::1]", id="brackets"),
        pytest.param("::ffff:192.0.2.300", id="a bad mapped address"),
    ],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    assert parse_network(text) == "not an address or a CIDR network"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        pytest.param("10.0.0.1/8", "10.0.0.0/8", id="v4"),
        pytest.param("192.0.2.255/31", "192.0.2.254/31", id="v4, the last bit"),
        pytest.param("10.1.2.3/0", "0.0.0.0/0", id="v4, all bits"),
        pytest.param("2001:db8::1/32", "2001:db8::/32", id="v6"),
        pytest.param("::ffff:10.0.0.1/104", "::ffff:a00:0/104", id="v4-mapped"),
    ],
)
def test_host_bits_are_refused_and_the_network_is_named(text: str, meant: str) -> None:
    fault = parse_network(text)
    assert isinstance(fault, str)
    assert fault.startswith("host bits are set: the network is ")
    assert ip_network(fault.removeprefix("host bits are set: the network is ")) == ip_network(meant)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
@settings(deadline=None)
def test_only_the_first_address_of_a_network_names_it(number: int, prefix: int) -> None:
    network = IPv4Network((number, prefix), strict=False)
    text = f"{ip_address(number)}/{prefix}"
    found = parse_network(text)
    if int(network.network_address) == number:
        assert found == network
    else:
        assert found == f"host bits are set: the network is {network}"


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_mapped_network_admits_whom_the_v4_network_admits(number: int, prefix: int, client: int) -> None:
    network = IPv4Network((number, prefix), strict=False)
    mapped = f"::ffff:{network.network_address}/{96 + prefix}"
    for address in (ip_address(client), network.network_address, network.broadcast_address):
        inside = address in network
        assert rule((str(network),)).admits(address) is inside
        assert rule((mapped,)).admits(address) is inside
        assert rule((mapped,)).admits(unmap(ip_address(f"::ffff:{address}"))) is inside
        assert rule(not_in=(mapped,)).admits(address) is not inside


@given(st.ip_addresses(v=6), st.integers(0, 128), st.ip_addresses(v=6))
@settings(deadline=None)
def test_not_in_admits_exactly_whom_in_does_not(start: object, prefix: int, client: object) -> None:
    network = IPv6Network((int(ip_address(str(start))), prefix), strict=False)
    assume(not network.subnet_of(IPv6Network("::ffff:0:0/96")))
    address = unmap(ip_address(str(client)))
    assume(address.version == 6)
    assert rule((str(network),)).admits(address) is (address in network)
    assert rule(not_in=(str(network),)).admits(address) is (address not in network)


@given(st.text(max_size=24))
@settings(deadline=None)
def test_text_is_a_network_or_a_fault_that_does_not_repeat_it(text: str) -> None:
    found = parse_network(text + "!")
    assert isinstance(found, str)
    assert text + "!" not in found


MAPPED = IPv6Network("::ffff:0:0/96")
networks = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda pair: IPv4Network(pair, strict=False)),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128))
    .map(lambda pair: IPv6Network(pair, strict=False))
    .filter(lambda network: not network.subnet_of(MAPPED)),
)


@st.composite
def conditions(draw: st.DrawFn) -> tuple[list[Network], list[Network], Address]:
    """Networks, often one in another, and an address, often at an edge of one."""
    allowed, refused = draw(st.lists(networks, max_size=6)), draw(st.lists(networks, max_size=6))
    halves = [half for one in (*allowed, *refused) if one.prefixlen < one.max_prefixlen for half in one.subnets()]
    if halves:
        refused += draw(st.lists(st.sampled_from(halves), max_size=3))
    edges = [int(edge) + step for one in (*allowed, *refused) for edge in (one[0], one[-1]) for step in (-1, 0, 1)]
    near = st.sampled_from(edges).filter(lambda edge: 0 <= edge < 2**128) if edges else st.nothing()
    return allowed, refused, unmap(draw(near.map(ip_address) | st.ip_addresses()))


@given(conditions())
@settings(deadline=None, max_examples=200)
def test_the_bounds_say_what_the_networks_say(case: tuple[list[Network], list[Network], Address]) -> None:
    allowed, refused, address = case
    inside = not allowed or any(address in network for network in allowed)
    expected = inside and not any(address in network for network in refused)
    found = rule(tuple(str(network) for network in allowed), tuple(str(network) for network in refused))
    assert found.admits(address) is expected


def test_two_hundred_networks_take_no_more_steps_than_one() -> None:
    address = ip_address("192.0.2.7")
    few = rule(("192.0.2.0/24",))
    many = rule(("192.0.2.0/24", *(f"10.{number}.0.0/{16 + number % 9}" for number in range(199))))
    assert many.admits(address)
    assert steps(lambda: many.admits(address)) == steps(lambda: few.admits(address))


def test_all_without_a_condition_share_one_rule() -> None:
    assert compile_condition(Condition()) is compile_condition(Condition(RequestIp()))
    office = Condition(RequestIp(("192.0.2.0/24",)))
    assert compile_condition(office).admits(ip_address("192.0.2.7"))
    assert not compile_condition(office).admits(ip_address("198.51.100.7"))
    with pytest.raises(ValueError, match="not an address"):
        compile_condition(Condition(RequestIp(("anywhere",))))


def test_a_mapped_address_stands_for_its_v4_address() -> None:
    assert unmap(ip_address("::ffff:192.0.2.7")) == ip_address("192.0.2.7")
    assert unmap(ip_address("::192.0.2.7")) == ip_address("::192.0.2.7")
    assert unmap(ip_address("2001:db8::1")) == ip_address("2001:db8::1")
    assert unmap(ip_address("192.0.2.7")) == ip_address("192.0.2.7")


def test_a_stored_condition_that_cannot_be_read_is_an_error_not_an_open_door() -> None:
    with pytest.raises(ValueError, match="not an address"):
        rule(("192.0.2.0/24", "anywhere"))
    with pytest.raises(ValueError, match="host bits"):
        rule(not_in=("192.0.2.1/24",))


def test_the_stored_form_is_kept() -> None:
    condition = Condition(RequestIp(("192.0.2.0/24",), ("192.0.2.7",)))
    stored = b'{"request_ip":{"in":["192.0.2.0/24"],"not_in":["192.0.2.7"]}}'
    assert msgspec.json.encode(condition) == stored
    assert msgspec.json.decode(stored, type=Condition) == condition
    assert msgspec.json.encode(Condition()) == b"{}"


some_networks = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3), st.integers(0, 32)).map(
            lambda pair: IPv4Network((pair[0] << 24, pair[1]), strict=False)
        ),
        st.tuples(st.integers(0, 3), st.integers(0, 128)).map(
            lambda pair: IPv6Network((pair[0] << 120, pair[1]), strict=False)
        ),
    ),
    max_size=3,
)
Sides = tuple[list[Network], list[Network]]
LASTS: list[Address] = [ip_address(number) for number in (0, 2**32 - 1)] + [
    ip_address(text) for text in ("::", "ffff::")
]


def of(sides: Sides) -> AddressRule:
    allowed, refused = sides
    return compile_condition(Condition(RequestIp(tuple(map(str, allowed)), tuple(map(str, refused)))))


@given(ours=st.tuples(some_networks, some_networks), theirs=st.tuples(some_networks, some_networks))
def test_a_rule_within_another_admits_nobody_whom_that_does_not(ours: Sides, theirs: Sides) -> None:
    inner, outer = of(ours), of(theirs)
    edges = [
        edge for network in (*ours[0], *ours[1], *theirs[0], *theirs[1]) for edge in (network[0], network[-1])
    ] + LASTS
    # Where a rule changes its mind it does so at an edge of a network, or beside one.
    around = [edge + step for edge in edges for step in (-1, 0, 1) if 0 <= int(edge) + step < 2**edge.max_prefixlen]
    witnesses = [each for each in (None, *around) if inner.admits(each) and not outer.admits(each)]
    assert inner.within(outer) is not bool(witnesses)
