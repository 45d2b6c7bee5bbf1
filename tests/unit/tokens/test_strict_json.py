import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.reason import Fault
from gateway.tokens.strict_json import _STRING_OR_BRACKET, DEEPEST, MOST_FAULTS, parse_json, pointer

QUARTER_MIB = 256 * 1024


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(b"", "not JSON", id="nothing"),
        pytest.param(b" \n", "not JSON", id="white space"),
        pytest.param(b"{", "not JSON", id="an object that does not end"),
        pytest.param(b'{"a": 1,}', "not JSON", id="a comma too many"),
        pytest.param(b"{'a': 1}", "not JSON", id="single quotes"),
        pytest.param(b"{a: 1}", "not JSON", id="a bare key"),
        pytest.param(b"{} {}", "not JSON", id="two values"),
        pytest.param(b"{} // why", "not JSON", id="a comment"),
        pytest.param(b"01", "not JSON", id="a leading zero"),
        pytest.param(b"+1", "not JSON", id="a plus"),
        pytest.param(b"0x10", "not JSON", id="hexadecimal"),
        pytest.param(b'"a\nb"', "not JSON", id="a line end in a string"),
        pytest.param(b'"a\x00b"', "not JSON", id="a control byte in a string"),
        pytest.param(b'"\\x41"', "not JSON", id="an escape that JSON lacks"),
        pytest.param(b"\xef\xbb\xbf{}", "not JSON", id="a byte order mark"),
        pytest.param("{}".encode("utf-16"), "not UTF-8", id="UTF-16 with its mark"),
        pytest.param("{}".encode("utf-16-le"), "not JSON", id="UTF-16 without"),
        pytest.param(b'"\xff"', "not UTF-8", id="a byte that is no UTF-8"),
        pytest.param(b'"\xc0\xaf"', "not UTF-8", id="an overlong slash"),
        pytest.param(b'"\xed\xa0\x80"', "not UTF-8", id="half a surrogate pair in UTF-8"),
        pytest.param(b"NaN", "NaN and infinities", id="NaN"),
        pytest.param(b"Infinity", "NaN and infinities", id="Infinity"),
        pytest.param(b"-Infinity", "NaN and infinities", id="-Infinity"),
        pytest.param(b"1e999", "out of range", id="1e999"),
        pytest.param(b"-1e999", "out of range", id="-1e999"),
        pytest.param(b"1" * 400 + b".0", "out of range", id="400 digits and a point"),
        pytest.param(b"1" * 21, "out of range", id="21 digits"),
        pytest.param(b"9" * 5000, "out of range", id="more digits than Python reads"),
        pytest.param(b"-" + b"9" * 20, "out of range", id="a large negative number"),
        pytest.param(b"[" * 2000 + b"]" * 2000, "nested deeper", id="2,000 arrays"),
        pytest.param(b"[" * 200_000, "nested deeper", id="200,000 arrays that do not end"),
        pytest.param(b'[{"a":' * 1000, "nested deeper", id="arrays and objects by turns"),
        pytest.param(b'["[", ' + b"[" * DEEPEST, "nested deeper", id="a bracket in a string does not count"),
        pytest.param(b'["\\"", ' + b"[" * DEEPEST, "nested deeper", id="an escaped quote ends no string"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused_as_a_whole(body: bytes, says: str) -> None:
    value, (fault,) = parse_json(body)
    assert value is None
    assert fault.pointer == ""
    assert says in fault.message


@pytest.mark.parametrize(
    ("body", "at", "says"),
    [
        pytest.param(b'{"a": [NaN]}', "/a/0", "NaN and infinities", id="NaN"),
        pytest.param(b'{"a": {"b": -Infinity}}', "/a/b", "NaN and infinities", id="minus infinity"),
        pytest.param(b'{"name": 1e999}', "/name", "out of range", id="1e999"),
        pytest.param(b'{"a": 1, "b": [' + b"9" * 30 + b"]}", "/b/0", "out of range", id="30 digits"),
        pytest.param(b'{"a":' * 2000 + b"1" + b"}" * 2000, "/a", "nested deeper", id="2,000 objects"),
        pytest.param(b'{"x": 1, "condition": ' + b"[" * 2000, "/condition", "nested deeper", id="2,000 arrays"),
    ],
)
def test_what_is_no_json_value_is_named_with_its_place(body: bytes, at: str, says: str) -> None:
    value, (fault,) = parse_json(body)
    assert value is None
    assert fault.pointer == at
    assert says in fault.message


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        pytest.param(b'{"a": 1, "a": 1}', ["/a"], id="twice the same key in the body"),
        pytest.param(b'{"a": {"b": 1, "b": 2}}', ["/a/b"], id="in an object inside"),
        pytest.param(b'{"a": [0, {"b": 1, "b": 2}]}', ["/a/1/b"], id="in an object of an array"),
        pytest.param(b'{"a": 1, "\\u0061": 2}', ["/a"], id="two spellings of one key"),
        pytest.param(b'{"": 1, "": 2}', [""], id="the empty key"),
        pytest.param(b'{"a": {"x": 1, "x": 2}, "b": {"y": 1, "y": 2}}', ["/a/x", "/b/y"], id="each key is named"),
        pytest.param(b'{"a": {"x": 1, "x": {"y": 1, "y": 2}}}', ["/a/x", "/a/x/y"], id="one inside the other"),
    ],
)
def test_a_key_that_stands_twice_is_refused_and_named(body: bytes, faults: list[str]) -> None:
    _, found = parse_json(body)
    assert found == tuple(Fault(at, "a key that stands here twice") for at in faults)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        pytest.param(b'"\\ud800"', "", id="the first half"),
        pytest.param(b'"\\udc00"', "", id="the second half"),
        pytest.param(b'"\\udc00\\ud800"', "", id="both in the wrong order"),
        pytest.param(b'{"name": ["a", "\\ud800x"]}', "/name/1", id="in a value inside"),
        pytest.param(b'{"a": {"\\ud800": 1}}', "/a", id="in a key"),
    ],
)
def test_half_a_surrogate_pair_is_refused_and_its_place_named(body: bytes, at: str) -> None:
    _, found = parse_json(body)
    assert found == (Fault(at, "a string holds half of a surrogate pair"),)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        pytest.param(b"{}", {}, id="an empty object"),
        pytest.param(b' \t\r\n{"a": 1} ', {"a": 1}, id="white space around it"),
        pytest.param(b'{"a": {"x": 1}, "b": {"x": 1}}', {"a": {"x": 1}, "b": {"x": 1}}, id="a key of two"),
        pytest.param(b'"\\ud83d\\ude00"', "\U0001f600", id="a whole surrogate pair"),
        pytest.param('"\U0001f600"'.encode(), "\U0001f600", id="four bytes of UTF-8"),
        pytest.param(b"12345678901234567890", 12345678901234567890, id="20 digits"),
        pytest.param(b"-0", 0, id="minus nought"),
        pytest.param(b"1e308", 1e308, id="a large double"),
        pytest.param(b"1e-999", 0.0, id="a number too small to tell"),
        pytest.param(b'"' + b"[{" * 2000 + b'"', "[{" * 2000, id="brackets in a string"),
        pytest.param(b"[" + b"[]," * 2000 + b"0]", [*([[]] * 2000), 0], id="2,000 arrays side by side"),
        pytest.param(b"null", None, id="null"),
    ],
)
def test_what_all_readers_read_alike_is_read(body: bytes, value: object) -> None:
    assert parse_json(body) == (value, ())


@pytest.mark.parametrize(
    ("depth", "faults"), [pytest.param(DEEPEST, 0, id="32 deep"), pytest.param(DEEPEST + 1, 1, id="33 deep")]
)
def test_nesting_is_allowed_32_deep(depth: int, faults: int) -> None:
    assert len(parse_json(b"[" * depth + b"]" * depth)[1]) == faults


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('"' + "a" * QUARTER_MIB, id="plain characters"),
        pytest.param('"' + '\\"' * (QUARTER_MIB // 2), id="escaped quotes"),
        pytest.param('"' + "\\\\" * (QUARTER_MIB // 2), id="escaped backslashes"),
        pytest.param('"' + '\\"' * (QUARTER_MIB // 2) + "\\", id="escaped quotes and a last backslash"),
        pytest.param('"' + "[{" * (QUARTER_MIB // 2), id="brackets"),
        pytest.param('"' + "\u00e9" * (QUARTER_MIB // 2), id="characters of two bytes"),
    ],
)
def test_a_string_that_does_not_end_is_looked_at_once(text: str) -> None:
    found = _STRING_OR_BRACKET.match(text)
    assert found is not None, "the string is left, and looked for again at each of its quotes"
    assert found.end() == len(text)
    _, (fault,) = parse_json(text.encode())
    assert fault.message.startswith("not JSON")


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=300)
def test_whatever_comes_in_nothing_is_raised(body: bytes) -> None:
    value, faults = parse_json(body)
    assert faults or json.loads(body) == value


@given(st.text('[]{}":,\\ua0de1.-+ ntf\n', max_size=40))
@settings(deadline=None, max_examples=500)
def test_what_looks_like_json_raises_nothing_either(text: str) -> None:
    value, faults = parse_json(text.encode())
    assert faults or json.loads(text) == value


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=plain_values, ensure_ascii=st.booleans())
@settings(deadline=None)
def test_what_was_written_is_read_back(value: object, *, ensure_ascii: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ensure_ascii).encode()) == (value, ())


@given(st.floats())
@settings(deadline=None)
def test_no_number_comes_out_that_is_not_finite(number: float) -> None:
    value, faults = parse_json(json.dumps([number]).encode())
    assert bool(faults) != math.isfinite(number)
    assert faults or value == [number]


def test_at_most_50_faults_are_told() -> None:
    body = b"[" + b",".join([b'{"a": 1, "a": 2}'] * 80) + b"]"
    _, found = parse_json(body)
    assert [fault.pointer for fault in found] == [f"/{index}/a" for index in range(MOST_FAULTS)]
    assert MOST_FAULTS == 50


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        pytest.param((), "", id="the whole body"),
        pytest.param(("policies", 0, "effect"), "/policies/0/effect", id="names and numbers"),
        pytest.param(
            ("resources", "com.cloudflare.api.account.*"), "/resources/com.cloudflare.api.account.*", id="dots"
        ),
        pytest.param(("a", "b/c", "d"), "/a", id="ends before a slash"),
        pytest.param(("a", "b~c"), "/a", id="ends before a tilde"),
        pytest.param(("a", "<script>"), "/a", id="ends before junk"),
        pytest.param(("a", ""), "/a", id="ends before nothing"),
        pytest.param(("a", "b\n"), "/a", id="ends before a line end"),
        pytest.param(("a", "\u00e9"), "/a", id="ends before a letter beyond ASCII"),
        pytest.param(("x" * 128,), "/" + "x" * 128, id="128 characters"),
        pytest.param(("x" * 129,), "", id="ends before 129 characters"),
    ],
)
def test_a_pointer_names_a_place_and_echoes_no_junk(parts: tuple[str | int, ...], text: str) -> None:
    assert pointer(*parts) == text
