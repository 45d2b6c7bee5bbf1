import pytest
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
        pytest.param(keys.owner_key(ME.key), f"{{zg}}:owner:user:{USER}", id="a user"),
        pytest.param(keys.owner_key(ACCOUNT.key), f"{{zg}}:owner:account:{USER}", id="an account of the same id"),
        pytest.param(keys.OWNERS, "{zg}:owners", id="owners"),
        pytest.param(keys.EXPIRIES, "{zg}:expiries", id="expiries"),
        pytest.param(keys.AUDIT, "{zg}:audit", id="audit"),
        pytest.param(keys.SEQUENCE, "{zg}:seq", id="sequence"),
        pytest.param(keys.CHANGED, "{zg}:changed", id="channel"),
        pytest.param(keys.META, "{zg}:meta", id="meta"),
    ],
)
def test_a_key_has_the_name_that_other_versions_know(key: str, name: str) -> None:
    assert key == name
