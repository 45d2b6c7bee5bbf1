import pytest
from redis.crc import key_slot
from support.records import TOKEN_ID, USER

from gateway.store import keys
from gateway.tokens.owner import OwnerKind, OwnerRef

ME = OwnerRef(OwnerKind.USER, USER)
ACCOUNT = OwnerRef(OwnerKind.ACCOUNT, USER)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        pytest.param(keys.token_key(TOKEN_ID), f"{{zg}}:token:{TOKEN_ID}", id="a token"),
        pytest.param(keys.tokens_key(ME.key), f"{{zg}}:tokens:user:{USER}", id="an owner's list"),
        pytest.param(keys.living_key(ME.key), f"{{zg}}:living:user:{USER}", id="an owner's living"),
        pytest.param(keys.ends_key(ME.key), f"{{zg}}:ends:user:{USER}", id="an owner's ends"),
        pytest.param(keys.use_key(TOKEN_ID), f"{{zg}}:use:{TOKEN_ID}", id="a token's use"),
        pytest.param(keys.use_days_key(TOKEN_ID), f"{{zg}}:use-days:{TOKEN_ID}", id="a token's days"),
        pytest.param(keys.use_refused_key(TOKEN_ID), f"{{zg}}:use-refused:{TOKEN_ID}", id="a token's refusals"),
        pytest.param(keys.owner_key(ME.key), f"{{zg}}:owner:user:{USER}", id="a user"),
        pytest.param(keys.owner_key(ACCOUNT.key), f"{{zg}}:owner:account:{USER}", id="an account of the same id"),
        pytest.param(keys.session_key("d" * 64), f"{{zg}}:session:{'d' * 64}", id="a session"),
        pytest.param(keys.sessions_key(TOKEN_ID), f"{{zg}}:sessions:{TOKEN_ID}", id="a token's sessions"),
        pytest.param(keys.zone_key("powerdns:a."), "{zg}:zone:powerdns:a.", id="a zone"),
        pytest.param(keys.OWNERS, "{zg}:owners", id="owners"),
        pytest.param(keys.EXPIRIES, "{zg}:expiries", id="expiries"),
        pytest.param(keys.AUDIT, "{zg}:audit", id="audit"),
        pytest.param(keys.DENIED_AUDIT, "{zg}:audit-denied", id="audit of refused calls"),
        pytest.param(keys.SEQUENCE, "{zg}:seq", id="sequence"),
        pytest.param(keys.CHANGED, "{zg}:changed", id="channel"),
        pytest.param(keys.META, "{zg}:meta", id="meta"),
        pytest.param(keys.PROBE, "{zg}:probe", id="probe"),
    ],
)
def test_a_key_has_the_name_that_other_versions_know(key: str, name: str) -> None:
    assert key == name


def test_all_keys_are_in_one_slot() -> None:
    """A script may touch several of them, in a cluster too."""
    fixed = [value for name, value in vars(keys).items() if name.isupper()]
    makers = (
        *(keys.token_key, keys.use_key, keys.use_days_key, keys.use_refused_key, keys.tokens_key),
        *(keys.owner_key, keys.session_key, keys.sessions_key, keys.zone_key),
    )
    made = [make("x}{y") for make in makers]
    assert {key_slot(name.encode()) for name in [*fixed, *made]} == {key_slot(b"{zg}")}
