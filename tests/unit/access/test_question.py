import pytest
from support.records import NOW, principal

from gateway.access.principal import Principal
from gateway.access.question import NO_FACTS, Facts, Question, Supposition, Unproved
from gateway.catalog.route_table import PathUnknown
from gateway.catalog.target import Target

ASKED = Question(principal(), None, Target((b"a",)), PathUnknown(), NOW)


@pytest.mark.parametrize("field", Question.__struct_fields__)
def test_a_question_cannot_be_changed_after_it_was_asked(field: str) -> None:
    with pytest.raises(AttributeError):
        setattr(ASKED, field, None)


def test_a_decision_is_a_function_of_these_and_of_nothing_else() -> None:
    assert Question.__struct_fields__ == (
        "principal",
        "address",
        "target",
        "match",
        "now",
        "facts",
        "encoded",
    )


def test_no_fact_is_known_unless_it_was_fetched() -> None:
    assert ASKED.facts is NO_FACTS
    assert Facts() == NO_FACTS == Facts(account=None, body=None)


def test_a_supposition_asks_the_same_of_a_token_that_is_no_principal() -> None:
    assert Supposition.__struct_fields__ == Question.__struct_fields__
    assert not issubclass(Unproved, Principal)
