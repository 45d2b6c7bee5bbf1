import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.framing import LARGEST_HEAD, MOST_FIELDS, UNFRAMED, Framing, UnknownCoding, read_framing


def test_a_head_has_at_most_64_kib_and_128_fields() -> None:
    assert (LARGEST_HEAD, MOST_FIELDS) == (65536, 128)


@pytest.mark.parametrize(
    ("codings", "lengths", "framing"),
    [
        pytest.param([], [], UNFRAMED, id="nothing said"),
        pytest.param([], [b"0"], Framing(chunked=False, length=0), id="length 0"),
        pytest.param([], [b"007"], Framing(chunked=False, length=7), id="zeros before a length"),
        pytest.param([], [b"9" * 18], Framing(chunked=False, length=10**18 - 1), id="18 digits"),
        pytest.param([b"chunked"], [], Framing(chunked=True, length=None), id="chunked"),
        pytest.param([b"CHUNKED"], [], Framing(chunked=True, length=None), id="in another case"),
    ],
)
def test_a_body_is_framed_by_one_field_or_none(codings: list[bytes], lengths: list[bytes], framing: Framing) -> None:
    assert read_framing(codings, lengths, is_1_1=True) == framing


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
        pytest.param([b"chunked\x0b"], id="a vertical tab behind it"),
        pytest.param([b"chunked;a=b"], id="a parameter"),
        pytest.param([b'"chunked"'], id="quoted"),
        pytest.param([b"identity"], id="identity"),
        pytest.param([b"identity, chunked"], id="identity before it"),
        pytest.param([b"x-chunked"], id="another name"),
        pytest.param([b""], id="empty"),
        pytest.param([b"", b"chunked"], id="empty, and then chunked"),
    ],
)
def test_a_coding_that_is_not_exactly_chunked_is_unknown(codings: list[bytes]) -> None:
    assert read_framing(codings, [], is_1_1=True) == UnknownCoding()


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
        pytest.param([b"5\n"], id="a line feed"),
        pytest.param([b"5_0"], id="an underscore"),
        pytest.param([b"0x5"], id="hexadecimal"),
        pytest.param([b"5e1"], id="an exponent"),
        pytest.param([b"5.0"], id="a point"),
        pytest.param([b"\xd9\xa5"], id="another alphabet's digit"),
        pytest.param([b"9" * 19], id="19 digits"),
        pytest.param([b"9" * 100_000], id="100,000 digits"),
    ],
)
def test_a_length_that_is_not_one_number_is_a_fault(lengths: list[bytes]) -> None:
    assert read_framing([], lengths, is_1_1=True) == "Content-Length is not one number"


@pytest.mark.parametrize("is_1_1", [True, False])
@pytest.mark.parametrize("length", [b"5", b"0", b"junk"])
@pytest.mark.parametrize("coding", [b"chunked", b"gzip"])
def test_both_a_coding_and_a_length_are_a_fault(coding: bytes, length: bytes, *, is_1_1: bool) -> None:
    assert read_framing([coding], [length], is_1_1=is_1_1) == "both Transfer-Encoding and Content-Length"


def test_a_coding_in_http_1_0_is_a_fault_and_a_length_is_not() -> None:
    assert read_framing([b"chunked"], [], is_1_1=False) == "Transfer-Encoding in HTTP/1.0"
    assert read_framing([], [b"5"], is_1_1=False) == Framing(chunked=False, length=5)


values = st.lists(st.sampled_from([b"5", b"chunked", b"gzip", b"5, 5"]) | st.binary(max_size=6), max_size=3)


@given(values, values, st.booleans())
def test_whatever_is_sent_there_is_one_way_to_read_it_or_none(
    codings: list[bytes],
    lengths: list[bytes],
    is_1_1: bool,  # noqa: FBT001 - drawn
) -> None:
    framing = read_framing(codings, lengths, is_1_1=is_1_1)
    if isinstance(framing, Framing):
        assert len(codings + lengths) == (framing.chunked or framing.length is not None)
        assert not (framing.chunked and framing.length is not None)
        assert not framing.chunked or is_1_1
