import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.framing import (
    HTTP_1_0,
    HTTP_1_1,
    LARGEST_HEAD,
    MOST_FIELDS,
    Framing,
    UnknownCoding,
    fault_in_fields,
    has_control_bytes,
    is_too_large,
    read_framing,
)

Fields = list[tuple[bytes, bytes]]
LENGTH, CODING = b"Content-Length", b"Transfer-Encoding"


# Size.


def test_a_head_has_at_most_128_fields() -> None:
    assert MOST_FIELDS == 128
    assert not is_too_large(b"/", [(b"X", b"x")] * 128)
    assert is_too_large(b"/", [(b"X", b"x")] * 129)


@pytest.mark.parametrize(
    ("start", "fields"),
    [
        pytest.param(b"x" * 65530, [(b"abc", b"def")], id="in its start"),
        pytest.param(b"", [(b"x" * 65530, b"abcdef")], id="in a name"),
        pytest.param(b"abc", [(b"def", b"x" * 65530)], id="in a value"),
    ],
)
def test_a_head_has_at_most_64_kib(start: bytes, fields: Fields) -> None:
    assert LARGEST_HEAD == 65536
    assert not is_too_large(start, fields)
    assert is_too_large(start + b"x", fields)


# Form.


@pytest.mark.parametrize("octet", range(256))
def test_a_control_byte_is_all_below_a_blank_but_a_tab_and_del(octet: int) -> None:
    assert has_control_bytes(b"a%cb" % octet) is ((octet < 0x20 and octet != 0x09) or octet == 0x7F)


@pytest.mark.parametrize(
    "field",
    [
        pytest.param((b"X-A", b""), id="an empty value"),
        pytest.param((b"!#$%&'*+-.^_`|~09azAZ", b"x"), id="every mark that a token may have"),
        pytest.param((b"X", b"a \t b"), id="blanks within"),
        pytest.param((b"X", bytes(range(0x80, 0x100))), id="bytes outside ASCII"),
    ],
)
def test_a_field_is_a_token_and_a_value_without_control_bytes(field: tuple[bytes, bytes]) -> None:
    assert fault_in_fields([(b"Y", b"y"), field]) is None


@pytest.mark.parametrize("name", [b"", b" ", b"X ", b" X", b"X A", b"X:", b"X/", b'"X"', b"X\x00", b"X\n", b"\xc3\xa4"])
def test_a_name_that_is_no_token_is_a_fault(name: bytes) -> None:
    assert fault_in_fields([(b"Y", b"y"), (name, b"x")]) == "a name that is no token"


@pytest.mark.parametrize("value", [b"\x00", b"a\rb", b"a\nb", b"a\r\n b", b"\x1b[2J", b"\x7f"])
def test_a_control_byte_in_a_value_is_a_fault(value: bytes) -> None:
    assert fault_in_fields([(b"Y", b"y"), (b"X", value)]) == "a control byte in a value"


# Framing.


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        pytest.param([], Framing(chunked=False, length=None), id="nothing said"),
        pytest.param([(LENGTH, b"0")], Framing(chunked=False, length=0), id="length 0"),
        pytest.param([(b"content-length", b"007")], Framing(chunked=False, length=7), id="zeros before a length"),
        pytest.param([(LENGTH, b"9" * 18)], Framing(chunked=False, length=10**18 - 1), id="18 digits"),
        pytest.param([(CODING, b"chunked")], Framing(chunked=True, length=None), id="chunked"),
        pytest.param([(b"TRANSFER-encoding", b"CHUNKED")], Framing(chunked=True, length=None), id="in another case"),
        pytest.param([(b"X-Content-Length", b"7")], Framing(chunked=False, length=None), id="another field"),
    ],
)
def test_a_body_is_framed_by_one_field_or_none(fields: Fields, framing: Framing) -> None:
    assert read_framing([(b"Y", b"y"), *fields], HTTP_1_1) == framing


@pytest.mark.parametrize(
    "codings",
    [
        pytest.param([b"gzip"], id="another"),
        pytest.param([b"gzip, chunked"], id="another before it"),
        pytest.param([b"chunked, gzip"], id="another behind it"),
        pytest.param([b"chunked", b"chunked"], id="twice"),
        pytest.param([b"chunked,chunked"], id="twice in a list"),
        pytest.param([b"chunked,"], id="a comma behind it"),
        pytest.param([b" chunked"], id="a blank before it"),
        pytest.param([b"chunked;a=b"], id="a parameter"),
        pytest.param([b"identity"], id="identity"),
        pytest.param([b""], id="empty"),
    ],
)
def test_a_coding_that_is_not_exactly_chunked_is_unknown(codings: list[bytes]) -> None:
    assert read_framing([(CODING, coding) for coding in codings], HTTP_1_1) == UnknownCoding()


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param([b"5", b"5"], id="twice the same"),
        pytest.param([b"5", b"6"], id="twice"),
        pytest.param([b"5, 5"], id="a list"),
        pytest.param([b""], id="empty"),
        pytest.param([b"+5"], id="a plus"),
        pytest.param([b"-5"], id="a minus"),
        pytest.param([b" 5"], id="a blank"),
        pytest.param([b"5_0"], id="an underscore"),
        pytest.param([b"0x5"], id="hexadecimal"),
        pytest.param([b"5e1"], id="an exponent"),
        pytest.param([b"\xd9\xa5"], id="another alphabet's digit"),
        pytest.param([b"9" * 19], id="19 digits"),
        pytest.param([b"9" * 100_000], id="100,000 digits"),
    ],
)
def test_a_length_that_is_not_one_number_is_a_fault(lengths: list[bytes]) -> None:
    assert read_framing([(LENGTH, length) for length in lengths], HTTP_1_1) == "Content-Length is not one number"


def test_both_a_coding_and_a_length_are_a_fault_in_any_order() -> None:
    fields = [(CODING, b"chunked"), (LENGTH, b"5")]
    for order in (fields, fields[::-1]):
        assert read_framing(order, HTTP_1_1) == "both Transfer-Encoding and Content-Length"


def test_a_coding_in_http_1_0_is_a_fault_and_a_length_is_not() -> None:
    assert read_framing([(CODING, b"chunked")], HTTP_1_0) == "Transfer-Encoding in HTTP/1.0"
    assert read_framing([(LENGTH, b"5")], HTTP_1_0) == Framing(chunked=False, length=5)


names = st.sampled_from([LENGTH, CODING, LENGTH.lower(), CODING.upper(), b"X"])
values = st.sampled_from([b"5", b"chunked", b"gzip", b"5, 5"]) | st.binary(max_size=6)


@given(st.lists(st.tuples(names, values), max_size=4), st.sampled_from([HTTP_1_0, HTTP_1_1]))
def test_whatever_is_sent_there_is_one_way_to_read_it_or_none(fields: Fields, version: tuple[int, int]) -> None:
    framing = read_framing(fields, version)
    if isinstance(framing, Framing):
        said = [value for name, value in fields if name.lower() in (LENGTH.lower(), CODING.lower())]
        assert len(said) == (framing.chunked or framing.length is not None)
        assert not (framing.chunked and framing.length is not None)
