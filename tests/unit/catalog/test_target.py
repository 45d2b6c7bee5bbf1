from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.catalog.target import Target, fault_in_segment, is_sound_path, split_target
from gateway.reason import Deny, Reason

UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
SUB_DELIMS = b"!$&'()*+,;="


@pytest.mark.parametrize(
    ("raw", "segments", "query", "authority"),
    [
        pytest.param(b"/", (), None, None, id="the root"),
        pytest.param(b"/a", (b"a",), None, None, id="one segment"),
        pytest.param(b"/a/b/c", (b"a", b"b", b"c"), None, None, id="three segments"),
        pytest.param(b"/" + UNRESERVED, (UNRESERVED,), None, None, id="every unreserved character"),
        pytest.param(b"/" + SUB_DELIMS + b":@", (SUB_DELIMS + b":@",), None, None, id="every sub-delimiter"),
        pytest.param(b"/a;v=1/b", (b"a;v=1", b"b"), None, None, id="a parameter"),
        pytest.param(b"/.a/a./a..b/...", (b".a", b"a.", b"a..b", b"..."), None, None, id="dots that are a name"),
        pytest.param(b"/a%20b", (b"a%20b",), None, None, id="an encoded space stays encoded"),
        pytest.param(b"/%C3%A9", (b"%C3%A9",), None, None, id="encoded UTF-8"),
        pytest.param(b"/%c3%A9", (b"%c3%A9",), None, None, id="hex digits keep their case"),
        pytest.param(b"/%F0%9F%98%80", (b"%F0%9F%98%80",), None, None, id="encoded UTF-8 of four bytes"),
        pytest.param(b"/a?b=c", (b"a",), b"b=c", None, id="a query"),
        pytest.param(b"/a?", (b"a",), b"", None, id="an empty query"),
        pytest.param(b"/?a", (), b"a", None, id="a query on the root"),
        pytest.param(b"/a?b?c", (b"a",), b"b?c", None, id="a question mark in the query"),
        pytest.param(b"/a?../%2e%2e//;", (b"a",), b"../%2e%2e//;", None, id="the query takes no part"),
        pytest.param(b'/a?"<>[\\]^`{|}', (b"a",), b'"<>[\\]^`{|}', None, id="what clients put into queries"),
        pytest.param(b"http://h/a?b", (b"a",), b"b", b"h", id="absolute form"),
        pytest.param(b"https://h:8443/a", (b"a",), None, b"h:8443", id="absolute form with a port"),
        pytest.param(b"HTTP://[2001:db8::1]/a", (b"a",), None, b"[2001:db8::1]", id="absolute form of v6"),
        pytest.param(b"http://h", (), None, b"h", id="absolute form without a path is the root"),
        pytest.param(b"http://h?q", (), b"q", b"h", id="absolute form without a path, with a query"),
    ],
)
def test_a_target_is_split_on_its_exact_bytes(
    raw: bytes, segments: tuple[bytes, ...], query: bytes | None, authority: bytes | None
) -> None:
    assert split_target(raw) == Target(segments, query, authority)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param(b"//", "an empty segment", id="two slashes"),
        pytest.param(b"//h/a", "an empty segment", id="what looks like an authority"),
        pytest.param(b"/a//b", "an empty segment", id="an empty segment inside"),
        pytest.param(b"/a/", "an empty segment", id="a final slash"),
        pytest.param(b"/.", "a dot segment", id="."),
        pytest.param(b"/..", "a dot segment", id=".."),
        pytest.param(b"/a/../b", "a dot segment", id=".. inside"),
        pytest.param(b"/a/./b", "a dot segment", id=". inside"),
        pytest.param(b"/a/..;/b", "a dot segment", id="..;"),
        pytest.param(b"/a/..;v=1/b", "a dot segment", id=".. with a parameter"),
        pytest.param(b"/a/.;v=1;w", "a dot segment", id=". with parameters"),
        pytest.param(b"/a/%2e%2e/b", "stand plain", id="encoded .."),
        pytest.param(b"/a/.%2E/b", "stand plain", id="half encoded .."),
        pytest.param(b"/a/%2e", "stand plain", id="encoded ."),
        pytest.param(b"/a%2Fb", "stand plain", id="an encoded slash"),
        pytest.param(b"/a%2fb", "stand plain", id="an encoded slash in small letters"),
        pytest.param(b"/a%5Cb", "stand plain", id="an encoded backslash"),
        pytest.param(b"/a%25b", "stand plain", id="an encoded percent"),
        pytest.param(b"/a%252Fb", "stand plain", id="a slash encoded twice"),
        pytest.param(b"/a%00b", "stand plain", id="an encoded nought"),
        pytest.param(b"/a%0Ab", "stand plain", id="an encoded line end"),
        pytest.param(b"/a%1Fb", "stand plain", id="the last encoded control byte"),
        pytest.param(b"/a%7Fb", "stand plain", id="encoded DEL"),
        pytest.param(b"/%61", "stand plain", id="an encoded letter"),
        pytest.param(b"/a%30", "stand plain", id="an encoded digit"),
        pytest.param(b"/a%2D", "stand plain", id="an encoded hyphen"),
        pytest.param(b"/a%5F", "stand plain", id="an encoded underscore"),
        pytest.param(b"/a%7E", "stand plain", id="an encoded tilde"),
        pytest.param(b"/%C3", "not UTF-8", id="cut UTF-8"),
        pytest.param(b"/%FF", "not UTF-8", id="no UTF-8"),
        pytest.param(b"/%C0%AF", "not UTF-8", id="an overlong slash"),
        pytest.param(b"/%ED%A0%80", "not UTF-8", id="half a surrogate pair"),
        pytest.param(b"/%C3/%A9", "not UTF-8", id="one character in two segments"),
        pytest.param(b"/a%", "RFC 3986", id="a percent alone"),
        pytest.param(b"/a%2", "RFC 3986", id="a percent with one digit"),
        pytest.param(b"/a%zz", "RFC 3986", id="a percent with no digits"),
        pytest.param(b"/a%u0041", "RFC 3986", id="a percent with u"),
        pytest.param(b"/a b", "RFC 3986", id="a space"),
        pytest.param(b"/a\tb", "RFC 3986", id="a tab"),
        pytest.param(b"/a\x00", "RFC 3986", id="a nought"),
        pytest.param(b"/a\n", "RFC 3986", id="a line end"),
        pytest.param(b"/a\\b", "RFC 3986", id="a backslash"),
        pytest.param(b"/a\xc3\xa9", "RFC 3986", id="plain UTF-8"),
        pytest.param(b"/a#b", "RFC 3986", id="a fragment"),
        pytest.param(b"/a[1]", "RFC 3986", id="brackets"),
        pytest.param(b"/{a}", "RFC 3986", id="braces"),
        pytest.param(b'/"a"', "RFC 3986", id="quotes"),
        pytest.param(b"/a|b", "RFC 3986", id="a bar"),
        pytest.param(b"/a^b", "RFC 3986", id="a caret"),
        pytest.param(b"/a?b#c", "query", id="a fragment behind the query"),
        pytest.param(b"/a?b c", "query", id="a space in the query"),
        pytest.param(b"/a?\x00", "query", id="a nought in the query"),
        pytest.param(b"/a?\r\n", "query", id="a line end in the query"),
        pytest.param(b"/a?\x7f", "query", id="DEL in the query"),
        pytest.param(b"/a?\xc3\xa9", "query", id="plain UTF-8 in the query"),
        pytest.param(b"http://h/a/../b", "a dot segment", id="absolute form: a dot segment"),
        pytest.param(b"http://h//a", "an empty segment", id="absolute form: an empty segment"),
        pytest.param(b"http://h#f", "RFC 3986", id="absolute form: a fragment"),
        pytest.param(b"http://h/a?b#c", "query", id="absolute form: a fragment behind the query"),
        pytest.param(b"", "neither", id="nothing"),
        pytest.param(b"*", "neither", id="asterisk form"),
        pytest.param(b"a/b", "neither", id="no slash"),
        pytest.param(b"example.com:443", "neither", id="authority form"),
        pytest.param(b"ftp://h/a", "neither", id="another scheme"),
        pytest.param(b"http:/a", "neither", id="a scheme and one slash"),
        pytest.param(b"http:a", "neither", id="a scheme and none"),
        pytest.param(b" /a", "neither", id="a space before it"),
        pytest.param(b"?a", "neither", id="only a query"),
    ],
)
def test_what_two_readers_could_read_differently_is_a_bad_request(raw: bytes, says: str) -> None:
    deny = split_target(raw)
    assert isinstance(deny, Deny)
    assert deny.reason is Reason.BAD_REQUEST
    assert says in deny.detail
    assert deny.path == ""


@pytest.mark.parametrize("octet", range(256))
def test_an_octet_may_be_encoded_only_if_no_reader_takes_it_for_something_else(octet: int) -> None:
    never = octet in UNRESERVED or octet in b"/\\%" or octet < 0x20 or octet == 0x7F
    alone_no_utf8 = octet >= 0x80
    for spelling in (b"a%%%02X" % octet, b"a%%%02x" % octet):
        assert (fault_in_segment(spelling) is None) == (not never and not alone_no_utf8)


@pytest.mark.parametrize("octet", range(256))
def test_an_octet_stands_plain_where_rfc_3986_has_it_in_a_segment(octet: int) -> None:
    pchar = octet in UNRESERVED + SUB_DELIMS + b":@"
    assert (fault_in_segment(b"a%c" % octet) is None) == pchar


targets = st.one_of(
    st.binary(max_size=40).map(lambda raw: b"/" + raw),
    st.text("ab0./%25;:@?#=~!2eEfFcC3A9 \\", max_size=30).map(lambda text: b"/" + text.encode()),
    st.lists(st.from_regex(rb"([a-z0-9._~;=-]|%20|%C3%A9){1,8}", fullmatch=True), max_size=5).map(
        lambda parts: b"/" + b"/".join(parts)
    ),
)
queries = st.just(b"") | st.from_regex(rb"\?[!-~]{0,12}", fullmatch=True)


@given(targets, queries)
@example(b"/", b"")
@example(b"/", b"?")
@settings(deadline=None, max_examples=500)
def test_what_was_judged_is_byte_for_byte_what_came(path: bytes, query: bytes) -> None:
    raw = path + query
    target = split_target(raw)
    if isinstance(target, Target):
        assert target.path + (b"" if target.query is None else b"?" + target.query) == raw
        assert target.authority is None


@given(targets, queries)
@settings(deadline=None, max_examples=300)
def test_the_absolute_form_of_a_target_is_judged_like_its_origin_form(path: bytes, query: bytes) -> None:
    origin = split_target(path + query)
    absolute = split_target(b"http://h" + path + query)
    if isinstance(origin, Target):
        assert absolute == Target(origin.segments, origin.query, b"h")
    else:
        assert absolute == origin


@given(st.lists(targets, min_size=1, max_size=3), queries)
@settings(deadline=None)
def test_each_accepted_segment_is_good_by_itself(paths: list[bytes], query: bytes) -> None:
    target = split_target(b"".join(paths) + query)
    if isinstance(target, Target):
        assert all(fault_in_segment(segment) is None for segment in target.segments)
        assert all(b"/" not in segment and b"?" not in segment for segment in target.segments)


# One look at a whole path.


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(b"/a", id="one segment"),
        pytest.param(b"/a/b/c", id="three segments"),
        pytest.param(b"/" + UNRESERVED + SUB_DELIMS + b":@", id="every character that stands plain"),
        pytest.param(b"/.a/a./a..b/...", id="dots that are a name"),
        pytest.param(b"/...;a", id="three dots and a parameter"),
        pytest.param(b"/a;../;/;.", id="semicolons before dots"),
        pytest.param(b"/" + b"a/" * 30_000 + b"a", id="60,000 bytes"),
        pytest.param(b"/%20/%c3%A9/%E2%82%ac/%F0%9F%98%80", id="escapes"),
        pytest.param(b"/" + b"%20/" * 15_000 + b"a", id="15,000 escapes"),
    ],
)
def test_a_path_passes_at_one_look(path: bytes) -> None:
    assert is_sound_path(path)
    assert isinstance(split_target(path), Target)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"a", id="no slash"),
        pytest.param(b"/", id="the root, which has no segment to look at"),
        pytest.param(b"//", id="two slashes"),
        pytest.param(b"/a/", id="a final slash"),
        pytest.param(b"/a//b", id="an empty segment"),
        *(
            pytest.param(
                b"%b%b%b" % (before, dots + parameter, behind), id=f"{before!r} {dots + parameter!r} {behind!r}"
            )
            for before in (b"/", b"/a/", b"/a;/")
            for dots in (b".", b"..")
            for parameter in (b"", b";", b";v=1", b";.", b";;")
            for behind in (b"", b"/", b"/a", b"/.")
        ),
        pytest.param(b"/%", id="a percent sign"),
        pytest.param(b"/a\n", id="a line end behind it"),
        pytest.param(b"/..\n", id="a line end behind a dot segment"),
    ],
)
def test_a_path_with_a_fault_is_looked_at_again(path: bytes) -> None:
    assert not is_sound_path(path)


@pytest.mark.parametrize("octet", range(256))
def test_an_octet_stands_in_a_plain_path_where_it_stands_in_a_segment(octet: int) -> None:
    for path in (b"/%c" % octet, b"/a%c" % octet, b"/%ca" % octet, b"/a/%c" % octet, b"/a%cb/c" % octet):
        faults = [fault_in_segment(segment) for segment in path[1:].split(b"/")]
        assert is_sound_path(path) is not any(faults)


anything = st.one_of(
    st.lists(st.sampled_from([bytes([octet]) for octet in range(256)]), max_size=12).map(
        lambda all_: b"/" + b"".join(all_)
    ),
    st.lists(
        st.sampled_from([b"/", b".", b"..", b";", b"a", b"%20", b"%2e", b"%c3", b"%A9", b"%", b"\n", b"@"]), max_size=10
    ).map(lambda parts: b"/" + b"".join(parts)),
    st.lists(st.sampled_from([b".", b"..", b";", b".;", b"..;", b"...", b"a.", b";.", b"x"]), max_size=6).map(
        lambda parts: b"/" + b"/".join(parts)
    ),
    targets,
)


@pytest.mark.parametrize("lead", range(0x80, 0x100))
def test_what_escapes_come_to_is_utf_8_at_one_look_too(lead: int) -> None:
    for second, *rest in product((0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0), (0x80, 0xBF, 0x41), (0x80, 0xC0)):
        octets = bytes([lead, second, *rest])
        for size in range(1, 5):
            path = b"/" + b"".join(b"%%%02X" % octet for octet in octets[:size])
            assert is_sound_path(path) is (fault_in_segment(path[1:]) is None)


@given(anything)
@example(b"/..")
@example(b"/a/..;/b")
@example(b"/.\n")
@settings(deadline=None, max_examples=1000)
def test_one_look_finds_what_a_look_at_each_segment_finds(path: bytes) -> None:
    faults = [fault_in_segment(segment) for segment in path[1:].split(b"/")]
    assert is_sound_path(path) is not any(faults)
    if b"?" not in path:
        assert isinstance(split_target(path), Target) is (path == b"/" or not any(faults))
