import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import DNS_ON_A, NOW, TOKEN_ID, USER, ZONE_B, compiled, policy, secret_of, token, zone

from gateway.tokens.condition import Condition, RequestIp
from gateway.tokens.digest import NO_PEPPERS, Peppers
from gateway.tokens.lifecycle import edit, effective_status, end_overlap, issue, resign, roll
from gateway.tokens.owner import OwnerKind, OwnerRef
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import SCHEMA, Draft, Status, Token

OWNER = OwnerRef(OwnerKind.USER, USER)
OFFICE = Condition(RequestIp(("192.0.2.0/24",)))
ON_B = policy(["DNS Read"], [zone(ZONE_B)])
OLD = NO_PEPPERS.sign(secret_of(fill=1))
NEW = NO_PEPPERS.sign(secret_of(fill=2))


def draft(status: Status | None = None) -> Draft:
    return Draft(
        name="another name",
        policies=(ON_B,),
        condition=OFFICE,
        not_before=NOW,
        expires_on=NOW + 60,
        status=status,
    )


@pytest.mark.parametrize(
    ("now", "stored", "status"),
    [
        pytest.param(NOW - 1, Status.ACTIVE, Status.ACTIVE, id="a second before its end"),
        pytest.param(NOW - 0.001, Status.ACTIVE, Status.ACTIVE, id="a moment before its end"),
        pytest.param(NOW, Status.ACTIVE, Status.EXPIRED, id="in the very second of its end"),
        pytest.param(NOW + 1, Status.ACTIVE, Status.EXPIRED, id="after its end"),
        pytest.param(NOW - 1, Status.DISABLED, Status.DISABLED, id="disabled before its end"),
        pytest.param(NOW, Status.DISABLED, Status.EXPIRED, id="disabled, and at its end"),
    ],
)
def test_a_token_is_expired_from_the_very_second_of_expires_on(now: float, stored: Status, status: Status) -> None:
    assert effective_status(token(status=stored, expires_on=NOW), now) is status


def test_of_a_compiled_token_the_status_is_the_same() -> None:
    for stored in (Status.ACTIVE, Status.DISABLED):
        of = token(status=stored, expires_on=NOW)
        for now in (NOW - 1, NOW):
            assert effective_status(compiled(of), now) is effective_status(of, now)


@given(st.floats(0, 1e12))
@settings(deadline=None)
def test_a_token_without_an_end_never_expires(now: float) -> None:
    assert effective_status(token(), now) is Status.ACTIVE
    assert effective_status(token(status=Status.DISABLED), now) is Status.DISABLED


@pytest.mark.parametrize(
    ("said", "status"),
    [
        pytest.param(None, Status.ACTIVE, id="nothing said: active"),
        pytest.param(Status.ACTIVE, Status.ACTIVE, id="active"),
        pytest.param(Status.DISABLED, Status.DISABLED, id="disabled"),
    ],
)
def test_a_new_token_is_as_its_draft_says(said: Status | None, status: Status) -> None:
    new = issue(draft(said), token_id=TOKEN_ID, owner=OWNER, issued_by="e" * 32, digest=NEW, now=NOW + 0.999)
    assert new == Token(
        schema=SCHEMA,
        id=TOKEN_ID,
        owner=OWNER,
        issued_by="e" * 32,
        digests=(NEW,),
        name="another name",
        status=status,
        issued_on=NOW,
        modified_on=NOW,
        policies=(ON_B,),
        condition=OFFICE,
        not_before=NOW,
        expires_on=NOW + 60,
    )


def test_an_edit_keeps_the_secret_the_id_the_owner_and_the_date_of_issue() -> None:
    before = token([DNS_ON_A], digests=(OLD, NEW))
    after = edit(before, draft(), issued_by="e" * 32, now=NOW)
    assert (after.digests, after.id, after.owner, after.issued_on, after.schema) == (
        before.digests,
        before.id,
        before.owner,
        before.issued_on,
        before.schema,
    )


def test_an_edit_takes_everything_else_from_the_draft() -> None:
    after = edit(token([DNS_ON_A]), draft(), issued_by="", now=NOW)
    assert (after.name, after.policies, after.condition, after.not_before, after.expires_on) == (
        "another name",
        (ON_B,),
        OFFICE,
        NOW,
        NOW + 60,
    )
    assert after.modified_on == NOW


def test_what_the_draft_leaves_out_is_removed() -> None:
    before = token(request_ip=["192.0.2.0/24"], not_before=NOW, expires_on=NOW + 60)
    bare = Draft("a", (DNS_ON_A,), Condition(), None, None, None)
    after = edit(before, bare, issued_by="", now=NOW)
    assert (after.condition, after.not_before, after.expires_on) == (Condition(), None, None)


@pytest.mark.parametrize(
    ("before", "said", "after", "maker"),
    [
        pytest.param(Status.ACTIVE, None, Status.ACTIVE, "first", id="nothing said: still active"),
        pytest.param(Status.DISABLED, None, Status.DISABLED, "first", id="nothing said: still disabled"),
        pytest.param(Status.ACTIVE, Status.DISABLED, Status.DISABLED, "first", id="disabling"),
        pytest.param(Status.ACTIVE, Status.ACTIVE, Status.ACTIVE, "first", id="active as before"),
        pytest.param(Status.DISABLED, Status.ACTIVE, Status.ACTIVE, "second", id="enabling changes the maker"),
    ],
)
def test_who_enables_a_token_answers_for_it(before: Status, said: Status | None, after: Status, maker: str) -> None:
    record = msgspec.structs.replace(token(status=before), issued_by="first")
    found = edit(record, draft(said), issued_by="second", now=NOW)
    assert (found.status, found.issued_by) == (after, maker)


def test_a_roll_replaces_all_digests_and_the_maker_and_nothing_else() -> None:
    before = token([DNS_ON_A], digests=(OLD, OLD), status=Status.DISABLED, expires_on=NOW + 60)
    after = roll(before, NEW, issued_by="e" * 32, now=NOW)
    assert after == msgspec.structs.replace(before, digests=(NEW,), issued_by="e" * 32, modified_on=NOW)


def test_resigning_changes_one_digest_and_keeps_its_end_and_every_date() -> None:
    ending = msgspec.structs.replace(OLD, ends=NOW + 60)
    other = NO_PEPPERS.sign(secret_of(fill=3))
    before = token(digests=(other, ending))
    peppered = Peppers([Sensitive("pepper")]).sign(secret_of(fill=1))
    after = resign(before, ending, peppered)
    assert after.digests == (other, msgspec.structs.replace(peppered, ends=NOW + 60))
    assert msgspec.structs.replace(after, digests=before.digests) == before


def test_resigning_a_digest_that_is_gone_changes_nothing() -> None:
    record = token(digests=(NEW,))
    assert resign(record, OLD, NEW) == record


FRACTION = NOW + 0.25


@pytest.mark.parametrize(
    ("expires_on", "ends"),
    [
        pytest.param(None, NOW + 61, id="never a part of a second too short"),
        pytest.param(NOW + 3600, NOW + 61, id="before the token's end"),
        pytest.param(NOW + 30, NOW + 30, id="never past the token's end"),
    ],
)
def test_a_roll_with_an_overlap_leaves_the_token_s_own_secret_alive_so_long(expires_on: int | None, ends: int) -> None:
    after = roll(token(digests=(OLD,), expires_on=expires_on), NEW, issued_by="", now=FRACTION, overlap=60)
    assert after.digests == (NEW, msgspec.structs.replace(OLD, ends=ends))


def test_a_second_roll_ends_the_first_overlap() -> None:
    third = NO_PEPPERS.sign(secret_of(fill=5))
    once = roll(token(digests=(OLD,)), NEW, issued_by="", now=NOW, overlap=60)
    assert roll(once, third, issued_by="", now=NOW, overlap=60).digests == (
        third,
        msgspec.structs.replace(NEW, ends=NOW + 60),
    )
    assert roll(once, third, issued_by="", now=NOW).digests == (third,)


def test_an_overlap_that_is_ended_leaves_the_new_secret_and_the_rest() -> None:
    before = roll(token(digests=(OLD,)), NEW, issued_by="", now=NOW, overlap=60)
    after = end_overlap(before, before.digests[1], NOW + 1)
    assert after == msgspec.structs.replace(before, digests=(NEW,), modified_on=NOW + 1)
