import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tokens.grammar import NARROWEST_FIRST, Grammar, canonical_zone_name

HEX = b"0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("grammar", "segment", "accepted"),
    [
        pytest.param(Grammar.ID, HEX, True, id="id: 32 hex digits"),
        pytest.param(Grammar.ID, HEX.upper(), False, id="id: in capitals"),
        pytest.param(Grammar.ID, HEX[:-1], False, id="id: 31"),
        pytest.param(Grammar.ID, HEX + b"0", False, id="id: 33"),
        pytest.param(Grammar.ID, HEX[:-1] + b"g", False, id="id: not hex"),
        pytest.param(Grammar.ID, HEX + b"\n", False, id="id: a line end"),
        pytest.param(Grammar.ID, HEX[:-3] + b"%30", False, id="id: percent-encoded"),
        pytest.param(Grammar.NAME, b"a", True, id="name: one character"),
        pytest.param(Grammar.NAME, b"Az09_-" + b"x" * 58, True, id="name: 64 characters"),
        pytest.param(Grammar.NAME, b"x" * 65, False, id="name: 65 characters"),
        pytest.param(Grammar.NAME, b"", False, id="name: empty"),
        pytest.param(Grammar.NAME, b"a.b", False, id="name: a dot"),
        pytest.param(Grammar.NAME, b"a;b", False, id="name: a semicolon"),
        pytest.param(Grammar.NAME, b"a%5Fb", False, id="name: percent-encoded"),
        pytest.param(Grammar.NAME, "\u00e9".encode(), False, id="name: a letter beyond ASCII"),
        pytest.param(Grammar.DNS_NAME, b"alpha.example", True, id="dns-name: two labels"),
        pytest.param(Grammar.DNS_NAME, b"alpha.example.", True, id="dns-name: a final dot"),
        pytest.param(Grammar.DNS_NAME, b"example", True, id="dns-name: one label"),
        pytest.param(Grammar.DNS_NAME, b"*.alpha.example", True, id="dns-name: a star as a label"),
        pytest.param(Grammar.DNS_NAME, b"_acme-challenge.X.example", True, id="dns-name: underscore, capitals"),
        pytest.param(Grammar.DNS_NAME, b"0=2F25.2.0.192.in-addr.arpa", True, id="dns-name: =2F"),
        pytest.param(Grammar.DNS_NAME, b"0=2f25.example", False, id="dns-name: =2f"),
        pytest.param(Grammar.DNS_NAME, b"=61lpha.example", False, id="dns-name: any other escape"),
        pytest.param(Grammar.DNS_NAME, b"a=.example", False, id="dns-name: a cut escape"),
        pytest.param(Grammar.DNS_NAME, b"a*.example", False, id="dns-name: a star inside a label"),
        pytest.param(Grammar.DNS_NAME, b".", False, id="dns-name: only a dot"),
        pytest.param(Grammar.DNS_NAME, b"..", False, id="dns-name: two dots"),
        pytest.param(Grammar.DNS_NAME, b".example", False, id="dns-name: an empty first label"),
        pytest.param(Grammar.DNS_NAME, b"alpha..example", False, id="dns-name: an empty label"),
        pytest.param(Grammar.DNS_NAME, b"alpha.example..", False, id="dns-name: two final dots"),
        pytest.param(Grammar.DNS_NAME, b"alpha/example", False, id="dns-name: a slash"),
        pytest.param(Grammar.DNS_NAME, b"alpha%2Eexample", False, id="dns-name: percent-encoded"),
        pytest.param(Grammar.DNS_NAME, b"alpha.example;x", False, id="dns-name: a parameter"),
        pytest.param(Grammar.DNS_NAME, b"a." * 126 + b"a", True, id="dns-name: 253 octets"),
        pytest.param(Grammar.DNS_NAME, b"a." * 126 + b"aa", False, id="dns-name: 254 octets"),
        pytest.param(Grammar.DNS_NAME, b"a." * 126 + b"a.", True, id="dns-name: 253 octets and a final dot"),
        pytest.param(Grammar.DNS_NAME, b"a." * 126 + b"=2F", True, id="dns-name: =2F counts as one octet"),
    ],
)
def test_a_grammar_acts_on_raw_bytes(grammar: Grammar, segment: bytes, *, accepted: bool) -> None:
    assert grammar.accepts(segment) is accepted


segments = st.one_of(
    st.binary(max_size=40),
    st.from_regex(rb"[0-9a-f]{31,33}", fullmatch=True),
    st.from_regex(rb"[A-Za-z0-9_.=2F*-]{1,70}", fullmatch=True),
)


@given(segments)
@settings(deadline=None, max_examples=300)
def test_a_narrow_grammar_lies_within_each_wider_one(segment: bytes) -> None:
    accepted = [grammar.accepts(segment) for grammar in NARROWEST_FIRST]
    assert accepted == sorted(accepted)


@given(segments)
@settings(deadline=None)
def test_no_grammar_takes_a_percent_a_slash_or_a_byte_beyond_ascii(segment: bytes) -> None:
    for junk in (b"%", b"/", b"\\", b"\x00", b"\n", b"\x80", b";", b"?"):
        assert not any(grammar.accepts(segment + junk) for grammar in Grammar)
        assert not any(grammar.accepts(junk + segment) for grammar in Grammar)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        pytest.param("alpha.example", "alpha.example.", id="a final dot is added"),
        pytest.param("alpha.example.", "alpha.example.", id="a final dot is kept"),
        pytest.param("ALPHA.Example", "alpha.example.", id="lower case"),
        pytest.param("0=2F25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa.", id="=2F is undone"),
        pytest.param("0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa.", id="a plain slash stays"),
    ],
)
def test_a_zone_name_has_one_canonical_spelling(written: str, canonical: str) -> None:
    assert canonical_zone_name(written) == canonical


@given(st.from_regex(r"[A-Za-z0-9_-]{1,9}(\.([A-Za-z0-9_-]|=2F){1,9}){0,3}\.?", fullmatch=True))
@settings(deadline=None)
def test_all_spellings_of_a_zone_name_meet_in_the_canonical_one(name: str) -> None:
    canonical = canonical_zone_name(name)
    assert canonical_zone_name(canonical) == canonical
    assert canonical_zone_name(name.removesuffix(".")) == canonical
    assert canonical_zone_name(name.replace("=2F", "/").swapcase()) == canonical
