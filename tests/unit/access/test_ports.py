import inspect

from gateway.access.ports import Action, Actor, Conflict, StoreUnavailable, TokenStore


def test_an_outage_says_nothing_of_a_change_unless_told() -> None:
    assert not StoreUnavailable("gone").outcome_unknown
    assert StoreUnavailable("gone", outcome_unknown=True).outcome_unknown
    assert str(StoreUnavailable("gone")) == "gone"


def test_a_conflict_is_no_outage() -> None:
    assert not issubclass(Conflict, StoreUnavailable)
    assert not issubclass(StoreUnavailable, Conflict)


def test_the_audit_names_an_actor_by_ids_and_has_no_room_for_a_secret() -> None:
    assert Actor.__struct_fields__ == ("token_id", "owner", "address", "request_id")


def test_the_words_of_the_audit_do_not_change() -> None:
    assert [str(action) for action in Action] == [
        "init",
        "create",
        "update",
        "delete",
        "roll",
        "revoke-self",
        "resign",
    ]


def test_each_method_of_the_port_is_awaited() -> None:
    methods = [item for name, item in vars(TokenStore).items() if inspect.isfunction(item) and name[0] != "_"]
    assert methods
    assert all(inspect.iscoroutinefunction(method) for method in methods)
