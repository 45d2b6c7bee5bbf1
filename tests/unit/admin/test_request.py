import pytest

from gateway.admin.request import entity_tag, matches

RAW = b"the document"
TAG = entity_tag(RAW).encode()


@pytest.mark.parametrize(
    ("if_match", "matched"),
    [
        pytest.param([], True, id="not sent"),
        pytest.param([b"*"], True, id="any"),
        pytest.param([TAG], True, id="the one"),
        pytest.param([b'"x", ' + TAG], True, id="in a list"),
        pytest.param([b'"x"', TAG], True, id="in a second field"),
        pytest.param([b'"x"'], False, id="another"),
        pytest.param([b"W/" + TAG], False, id="weak"),
        pytest.param([TAG.strip(b'"')], False, id="without its quotes"),
        pytest.param([TAG.upper()], False, id="in another case"),
        pytest.param([b"*, *"], False, id="any, twice"),
        pytest.param([b""], False, id="empty"),
    ],
)
def test_if_match_lets_a_change_happen_to_the_document_that_it_names(
    if_match: list[bytes],
    matched: bool,  # noqa: FBT001 - a case's data
) -> None:
    assert matches(if_match, RAW) is matched


def test_an_entity_tag_is_quoted_and_changes_with_every_byte() -> None:
    assert entity_tag(b"a").startswith('"')
    assert entity_tag(b"a").endswith('"')
    assert entity_tag(b"a") != entity_tag(b"b")
