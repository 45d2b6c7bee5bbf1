import inspect

import pytest

from gateway.access.ports import (
    Action,
    Actor,
    Conflict,
    Denied,
    NotReplicated,
    StoreUnavailable,
    Tokens,
    TokenStore,
    ZoneAccounts,
)


def test_an_outage_says_nothing_of_a_change_unless_told() -> None:
    assert not StoreUnavailable("gone").outcome_unknown
    assert StoreUnavailable("gone", outcome_unknown=True).outcome_unknown
    assert str(StoreUnavailable("gone")) == "gone"


@pytest.mark.parametrize("kind", [StoreUnavailable, NotReplicated, Conflict])
def test_a_conflict_an_outage_and_too_few_replicas_are_told_apart(kind: type[Exception]) -> None:
    others = {StoreUnavailable, NotReplicated, Conflict} - {kind}
    assert not any(issubclass(kind, other) for other in others)


def test_the_audit_names_an_actor_by_ids_and_has_no_room_for_a_secret() -> None:
    assert Actor.__struct_fields__ == ("token_id", "owner", "address", "request_id")
    assert Denied.__struct_fields__ == ("method", "path", "reason", "token_id")


def test_the_words_of_the_audit_do_not_change() -> None:
    assert [str(action) for action in Action] == [
        "init",
        "recover",
        "create",
        "update",
        "delete",
        "roll",
        "revoke-self",
        "leaked",
        "resign",
        "expire",
        "import",
        "repair",
        "owner-create",
        "owner-update",
        "owner-delete",
        "zone-set",
        "zone-unset",
        "freeze",
        "thaw",
        "denied",
        "sign-in",
        "sign-out",
    ]


def awaited(port: type) -> dict[str, bool]:
    methods = {name: item for name, item in vars(port).items() if inspect.isfunction(item) and name[0] != "_"}
    return {name: inspect.iscoroutinefunction(method) for name, method in methods.items()}


def test_each_method_of_the_store_is_awaited_but_for_the_one_that_answers_a_token_after_the_other() -> None:
    assert [name for name, is_awaited in awaited(TokenStore).items() if not is_awaited] == ["issued_by"]


def test_to_look_into_the_memory_is_not_awaited() -> None:
    assert awaited(Tokens) == {"look": False, "fetch": True}


def test_to_look_up_the_account_of_a_zone_is_awaited_only_where_it_is_not_in_memory() -> None:
    assert awaited(ZoneAccounts) == {"known": False, "find": True, "pinned": True}
