from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.server.proxy_protocol import (
    LARGEST_BLOCK,
    LONGEST_LINE,
    Fault,
    NotYet,
    ProxyHeader,
    read_proxy_header,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LONGEST_V6 = b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def byte_by_byte(data: bytes) -> ProxyHeader | NotYet | Fault:
    """The first answer that is more than "not yet", as a connection would get it that reads single bytes."""
    for size in range(len(data)):
        answer = read_proxy_header(data[:size])
        if not isinstance(answer, NotYet):
            return answer
    return read_proxy_header(data)


def header(source: str | None, port: int, size: int) -> ProxyHeader:
    return ProxyHeader(source=None if source is None else ip_address(source), port=port, size=size)


# Version 1.


LINES = [
    pytest.param(b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", "192.0.2.1", 56324, id="IPv4"),
    pytest.param(
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        "255.255.255.255",
        65535,
        id="the longest of IPv4",
    ),
    pytest.param(b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0", 0, id="noughts"),  # noqa: S104 - it is only read
    pytest.param(b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", "2001:db8::1", 56324, id="IPv6"),
    pytest.param(
        b"PROXY TCP6 %b %b 65535 65535\r\n" % (LONGEST_V6, LONGEST_V6),
        LONGEST_V6.decode(),
        65535,
        id="the longest of IPv6",
    ),
    pytest.param(b"PROXY TCP6 2001:DB8::A 2001:DB8::B 1 2\r\n", "2001:db8::a", 1, id="IPv6 in capitals"),
    pytest.param(b"PROXY TCP6 2001:0db8:0:0:0:0:0:0001 :: 1 2\r\n", "2001:db8::1", 1, id="IPv6 at length"),
    pytest.param(b"PROXY TCP6 :: ::1 1 2\r\n", "::", 1, id="IPv6 at its shortest"),
    pytest.param(b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", "192.0.2.1", 1, id="IPv4 mapped, dotted"),
    pytest.param(b"PROXY TCP6 ::ffff:c000:201 ::1 1 2\r\n", "192.0.2.1", 1, id="IPv4 mapped"),
    pytest.param(b"PROXY UNKNOWN\r\n", None, 0, id="unknown"),
    pytest.param(b"PROXY UNKNOWN ffff::1 x \xff\x00 -1\r\n", None, 0, id="unknown, and something to ignore"),
    pytest.param(b"PROXY UNKNOWN TCP4 192.0.2.1 192.0.2.2 1 2\r\n", None, 0, id="unknown, and what looks like one"),
    pytest.param(b"PROXY UNKNOWN %b %b 65535 65535\r\n" % (LONGEST_V6, LONGEST_V6), None, 0, id="unknown, the longest"),
]


@pytest.mark.parametrize("behind", [pytest.param(b"", id="alone"), pytest.param(REQUEST, id="before a request")])
@pytest.mark.parametrize(("line", "source", "port"), LINES)
def test_a_line_tells_who_connected_to_the_proxy(line: bytes, source: str | None, port: int, behind: bytes) -> None:
    assert len(line) <= LONGEST_LINE == 107
    assert read_proxy_header(line + behind) == header(source, port, len(line))


@pytest.mark.parametrize(("line", "source", "port"), LINES)
def test_a_line_is_a_header_at_its_last_byte_and_not_before(line: bytes, source: str | None, port: int) -> None:
    for size in range(len(line)):
        assert read_proxy_header(line[:size]) == NotYet()
    assert read_proxy_header(line) == header(source, port, len(line))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"G", id="a GET"),
        pytest.param(b"PO", id="a POST"),
        pytest.param(b"PU", id="a PUT"),
        pytest.param(b"PA", id="a PATCH"),
        pytest.param(b"PRI", id="the preface of HTTP/2"),
        pytest.param(b"PROP", id="a PROPFIND"),
        pytest.param(b"\x16", id="a handshake of TLS"),
        pytest.param(b"\x00", id="NUL"),
        pytest.param(b" ", id="a blank before it"),
        pytest.param(b"\n", id="LF before it"),
        pytest.param(b"\r\nP", id="an empty line before it"),
        pytest.param(b"p", id="small letters"),
        pytest.param(b"PROXY\t", id="a tab"),
        pytest.param(b"PROXY\r", id="nothing told"),
        pytest.param(b"PROXY  ", id="two blanks"),
        pytest.param(b"PROXY t", id="a family in small letters"),
        pytest.param(b"PROXY UD", id="another transport"),
        pytest.param(b"PROXY TCP ", id="a transport without a family"),
        pytest.param(b"PROXY TCP5", id="another family"),
        pytest.param(b"PROXY TCP46", id="a longer family"),
        pytest.param(b"PROXY UNKNOWN\n", id="unknown, LF alone"),
        pytest.param(b"PROXY UNKNOWN\rX", id="unknown, CR alone"),
        pytest.param(b"PROXY UNKNOWN x\n", id="unknown and something, LF alone"),
        pytest.param(b"PROXY UNKNOWN x\r\r", id="unknown and something, two CR"),
        pytest.param(b"PROXY UNKNOWNX", id="a longer word"),
        pytest.param(b"PROXY UNKNOWN " + b"x" * 92, id="unknown, with no room for its end"),
        pytest.param(b"PROXY TCP4\r", id="no address"),
        pytest.param(b"PROXY TCP4  ", id="two blanks before an address"),
        pytest.param(b"PROXY TCP4 a", id="a letter in IPv4"),
        pytest.param(b"PROXY TCP4 :", id="IPv6 for IPv4"),
        pytest.param(b"PROXY TCP4 256", id="a number beyond 255"),
        pytest.param(b"PROXY TCP4 1.2.3.1000", id="a number of four digits"),
        pytest.param(b"PROXY TCP4 01", id="a number with a nought before it"),
        pytest.param(b"PROXY TCP4 1..", id="an empty number"),
        pytest.param(b"PROXY TCP4 1.2.3 ", id="three numbers"),
        pytest.param(b"PROXY TCP4 1.2.3.4.", id="five numbers"),
        pytest.param(b"PROXY TCP4 1.2.3.4\r", id="one address"),
        pytest.param(b"PROXY TCP4 1.2.3.4/", id="a network"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4\r", id="no port"),
        pytest.param(b"PROXY TCP4 1.2.3.4 :", id="addresses of two families"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 -", id="a negative port"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 +", id="a port with a sign"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 00", id="a port of two noughts"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 08", id="a port with a nought before it"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 65536", id="a port beyond 65535"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536", id="another port beyond 65535"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 100000", id="a port of six digits"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r", id="one port"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ", id="a blank behind the ports"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", id="LF alone"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rG", id="CR alone"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r", id="two CR"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\x00", id="NUL"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 \xd9", id="a digit that is not ASCII"),
        pytest.param(b"PROXY TCP6 1.", id="IPv4 for IPv6"),
        pytest.param(b"PROXY TCP6 g", id="a letter beyond f"),
        pytest.param(b"PROXY TCP6 12345", id="a group of five digits"),
        pytest.param(b"PROXY TCP6 :1", id="a colon alone at the start"),
        pytest.param(b"PROXY TCP6 1:::", id="three colons"),
        pytest.param(b"PROXY TCP6 1::2::", id="two gaps"),
        pytest.param(b"PROXY TCP6 1:2:3:4:5:6:7 ", id="seven groups"),
        pytest.param(b"PROXY TCP6 1:2:3:4:5:6:7:8:", id="nine groups"),
        pytest.param(b"PROXY TCP6 ::1:2:3:4:5:6:7:", id="eight groups and a gap"),
        pytest.param(b"PROXY TCP6 1: ", id="a colon alone at the end"),
        pytest.param(b"PROXY TCP6 ::256.", id="IPv4 in IPv6 beyond 255"),
        pytest.param(b"PROXY TCP6 fe80::1%", id="a zone"),
        pytest.param(b"PROXY TCP6 [", id="brackets"),
        pytest.param(
            b"PROXY TCP6 1111:1111:1111:1111:1111:1111:255.255.255.255 1111:1111:1111:1111:1111:1111:255.255.255.255",
            id="addresses that leave no room for the end",
        ),
    ],
)
def test_what_is_no_header_is_a_fault_at_the_first_byte_that_shows_it(line: bytes) -> None:
    assert read_proxy_header(line[:-1]) == NotYet()
    fault = read_proxy_header(line)
    assert isinstance(fault, Fault)
    assert read_proxy_header(line + b"\r\n") == read_proxy_header(line + REQUEST) == fault


def test_a_line_that_does_not_end_is_a_fault_of_no_cost() -> None:
    assert isinstance(read_proxy_header(b"PROXY UNKNOWN " + b"x" * 2**20), Fault)


V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)


@st.composite
def written(draw: st.DrawFn, address: IPv4Address | IPv6Address) -> str:
    """Some way in which the address may be written."""
    if isinstance(address, IPv4Address):
        return str(address)
    dotted = (
        f"{IPv6Address(int(address) >> 32 << 32).exploded.rpartition(':0000:')[0]}:{IPv4Address(int(address) % 2**32)}"
    )
    short = ":".join(f"{int(group, 16):x}" for group in address.exploded.split(":"))
    return draw(st.sampled_from([str(address), str(address).upper(), address.exploded, short, dotted]))


@given(
    st.data(),
    st.one_of(
        st.tuples(V4, V4),
        st.tuples(V6, V6),
        st.tuples(V4.map(lambda address: IPv6Address(f"::ffff:{address}")), V6),
        st.tuples(
            st.integers(0, 2**20).map(IPv6Address), st.integers(0, 2**8).map(lambda high: IPv6Address(high << 112))
        ),
    ),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.binary(max_size=5),
)
def test_whatever_a_proxy_may_write_in_a_line_is_read(
    data: st.DataObject,
    ends: tuple[IPv4Address, IPv4Address] | tuple[IPv6Address, IPv6Address],
    port: int,
    other: int,
    behind: bytes,
) -> None:
    source, target = (data.draw(written(end)) for end in ends)
    line = f"PROXY TCP{ends[0].version} {source} {target} {port} {other}\r\n".encode()
    answer = byte_by_byte(line + behind)
    if len(line) > LONGEST_LINE:
        assert isinstance(answer, Fault)
    else:
        mapped = ends[0].ipv4_mapped if isinstance(ends[0], IPv6Address) else None
        assert answer == read_proxy_header(line + behind) == ProxyHeader(mapped or ends[0], port, len(line))


# Version 2.


SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
TO_V4 = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + bytes([0xDC, 0x04, 0x01, 0xBB])
TO_V6 = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + bytes([0xDC, 0x04, 0x01, 0xBB])
MAPPED = IPv6Address("::ffff:192.0.2.1").packed * 2 + bytes(4)
TO_UNIX = b"/run/proxy".ljust(108, b"\x00") * 2
NOOP = b"\x04\x00\x02ab"


def binary(block: bytes = b"", command: int = 0x21, protocol: int = 0x11) -> bytes:
    return SIGNATURE + bytes([command, protocol]) + len(block).to_bytes(2, "big") + block


def crc32c(data: bytes) -> int:
    """Bit by bit, out of the polynomial."""
    remainder = 0xFFFFFFFF
    for octet in data:
        remainder ^= octet
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


def checked(before: bytes, after: bytes = b"", protocol: int = 0x11, spoil: int = 0) -> bytes:
    """A header with a checksum between `before` and `after`."""
    zeroed = binary(before + b"\x03\x00\x04" + bytes(4) + after, protocol=protocol)
    return binary(before + b"\x03\x00\x04" + (crc32c(zeroed) ^ spoil).to_bytes(4, "big") + after, protocol=protocol)


def test_the_checksum_is_crc32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283


BLOCKS = [
    pytest.param(binary(TO_V4), "192.0.2.1", 56324, id="IPv4"),
    pytest.param(binary(TO_V6, protocol=0x21), "2001:db8::1", 56324, id="IPv6"),
    pytest.param(binary(MAPPED, protocol=0x21), "192.0.2.1", 0, id="IPv4 mapped"),
    pytest.param(binary(TO_V4, protocol=0x12), "192.0.2.1", 56324, id="IPv4, what came in datagrams"),
    pytest.param(binary(TO_V6, protocol=0x22), "2001:db8::1", 56324, id="IPv6, what came in datagrams"),
    pytest.param(binary(TO_UNIX, protocol=0x31), None, 0, id="a Unix socket"),
    pytest.param(binary(TO_UNIX, protocol=0x32), None, 0, id="a Unix socket of datagrams"),
    pytest.param(binary(protocol=0x00), None, 0, id="unspecified"),
    pytest.param(binary(b"anything", protocol=0x00), None, 0, id="unspecified, and something to ignore"),
    pytest.param(binary(TO_V4, protocol=0x10), None, 0, id="an unspecified transport"),
    pytest.param(binary(TO_V4, protocol=0x01), None, 0, id="an unspecified family"),
    pytest.param(binary(command=0x20, protocol=0x00), None, 0, id="the proxy's own"),
    pytest.param(binary(TO_V4, command=0x20), None, 0, id="the proxy's own, with addresses"),
    pytest.param(binary(b"any", command=0x20, protocol=0xFF), None, 0, id="the proxy's own, of whatever protocol"),
    pytest.param(binary(TO_V4 + NOOP), "192.0.2.1", 56324, id="a TLV"),
    pytest.param(binary(TO_V4 + b"\xea\x00\x00" + NOOP), "192.0.2.1", 56324, id="an empty TLV, and another"),
    pytest.param(binary(TO_V6 + NOOP, protocol=0x21), "2001:db8::1", 56324, id="IPv6 and a TLV"),
    pytest.param(binary(TO_UNIX + NOOP, protocol=0x31), None, 0, id="a Unix socket and a TLV"),
    pytest.param(
        binary(TO_V4 + b"\x04\x0f\xf1" + bytes(LARGEST_BLOCK - 15)), "192.0.2.1", 56324, id="a TLV as large as can be"
    ),
    pytest.param(checked(TO_V4), "192.0.2.1", 56324, id="a checksum"),
    pytest.param(checked(TO_V4 + NOOP, b"\x02\x00\x07example"), "192.0.2.1", 56324, id="a checksum among TLVs"),
    pytest.param(checked(TO_V6, NOOP, protocol=0x21), "2001:db8::1", 56324, id="IPv6 and a checksum"),
]


@pytest.mark.parametrize("behind", [pytest.param(b"", id="alone"), pytest.param(REQUEST, id="before a request")])
@pytest.mark.parametrize(("block", "source", "port"), BLOCKS)
def test_a_block_tells_who_connected_to_the_proxy(block: bytes, source: str | None, port: int, behind: bytes) -> None:
    assert read_proxy_header(block + behind) == header(source, port, len(block))


@pytest.mark.parametrize(("block", "source", "port"), BLOCKS)
def test_a_block_is_a_header_at_its_last_byte_and_not_before(block: bytes, source: str | None, port: int) -> None:
    for size in range(len(block)):
        assert read_proxy_header(block[:size]) == NotYet()
    assert read_proxy_header(block) == header(source, port, len(block))


@pytest.mark.parametrize(
    ("block", "says"),
    [
        pytest.param(SIGNATURE[:-1] + b"\r", "not a PROXY header", id="another signature"),
        pytest.param(b"\r\n\r\nG", "not a PROXY header", id="a request behind empty lines"),
        pytest.param(SIGNATURE + b"\x11", "another version", id="version 1"),
        pytest.param(SIGNATURE + b"\x31", "another version", id="version 3"),
        pytest.param(SIGNATURE + b"\x22", "unknown command", id="an unknown command"),
        pytest.param(SIGNATURE + b"\x21\x13", "unknown protocol", id="an unknown transport"),
        pytest.param(SIGNATURE + b"\x21\x03", "unknown protocol", id="an unknown transport of no family"),
        pytest.param(SIGNATURE + b"\x21\x41", "unknown protocol", id="an unknown family"),
        pytest.param(SIGNATURE + b"\x21\x40", "unknown protocol", id="an unknown family, of no transport"),
        pytest.param(SIGNATURE + b"\x21\x11\x11", "too large", id="more than 4 KiB"),
        pytest.param(SIGNATURE + b"\x21\x11\x10\x01", "too large", id="a byte more than 4 KiB"),
        pytest.param(SIGNATURE + b"\x20\x00\xff", "too large", id="the proxy's own, 64 KiB"),
        pytest.param(SIGNATURE + b"\x21\x11\x00\x0b", "too small", id="less than two IPv4 addresses"),
        pytest.param(SIGNATURE + b"\x21\x21\x00\x23", "too small", id="less than two IPv6 addresses"),
        pytest.param(SIGNATURE + b"\x21\x31\x00\xd7", "too small", id="less than two Unix paths"),
        pytest.param(binary(TO_V4 + b"\x04"), "cut", id="a TLV of one byte"),
        pytest.param(binary(TO_V4 + b"\x04\x00"), "cut", id="a TLV of two bytes"),
        pytest.param(binary(TO_V4 + b"\x04\x00\x02a"), "cut", id="a TLV that is longer than the block"),
        pytest.param(binary(TO_V4 + b"\x04\xff\xff" + bytes(9)), "cut", id="a TLV of 64 KiB"),
        pytest.param(binary(TO_V6 + NOOP + b"\x00", protocol=0x21), "cut", id="a byte behind the TLVs"),
        pytest.param(checked(TO_V4, spoil=1), "checksum is wrong", id="a wrong checksum"),
        pytest.param(checked(TO_V4, spoil=1 << 31), "checksum is wrong", id="a checksum that is wrong at its start"),
        pytest.param(
            checked(TO_V4).replace(TO_V4, bytes(12)), "checksum is wrong", id="other addresses than were checked"
        ),
        pytest.param(binary(TO_V4 + b"\x03\x00\x03abc"), "checksum is malformed", id="a checksum of three bytes"),
        pytest.param(binary(TO_V4 + b"\x03\x00\x05abcde"), "checksum is malformed", id="a checksum of five bytes"),
        pytest.param(checked(checked(TO_V4)[16:]), "checksum is malformed", id="two checksums"),
    ],
)
def test_a_malformed_block_is_a_fault_at_the_first_byte_that_shows_it_or_when_all_is_there(
    block: bytes, says: str
) -> None:
    assert read_proxy_header(block[:-1]) == NotYet()
    fault = read_proxy_header(block)
    assert isinstance(fault, Fault)
    assert says in fault.what
    assert read_proxy_header(block + REQUEST) == fault


# Both.


HEADERS = [bytes(parameters.values[0]) for parameters in (*LINES, *BLOCKS)]


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A header with some bytes taken out, put in or exchanged, and something behind it."""
    text = draw(st.sampled_from([header for header in HEADERS if len(header) < 256]))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=2)) + text[at + draw(st.integers(0, 2)) :]
    return text + draw(st.sampled_from([b"", REQUEST, b"\r\n"]))


@given(st.one_of(spoilt(), st.binary(max_size=40)))
@example(b"")
def test_a_header_is_read_alike_whole_and_byte_by_byte(data: bytes) -> None:
    assert byte_by_byte(data) == read_proxy_header(data)


@given(st.one_of(spoilt(), st.binary(max_size=40)), st.binary(max_size=40))
def test_what_was_answered_stays_whatever_follows(data: bytes, behind: bytes) -> None:
    answer = read_proxy_header(data)
    if not isinstance(answer, NotYet):
        assert read_proxy_header(data + behind) == answer
