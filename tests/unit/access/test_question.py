import pytest
from support.records import NOW, principal

from gateway.access.question import Question
from gateway.catalog.route_table import PathUnknown
from gateway.catalog.target import Target

ASKED = Question(principal(), None, Target((b"a",)), PathUnknown(), NOW)


@pytest.mark.parametrize("field", Question.__struct_fields__)
def test_a_question_cannot_be_changed_after_it_was_asked(field: str) -> None:
    with pytest.raises(AttributeError):
        setattr(ASKED, field, None)


def test_a_decision_is_a_function_of_these_and_of_nothing_else() -> None:
    assert Question.__struct_fields__ == ("principal", "address", "target", "match", "now")
