"""Cases beside the policies; and, as one test each, those that we ship: `policies/tests/`."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.catalog.document import CatalogError
from gateway.cli.policy_case import Case, CaseFile, as_fault, judge_cases, read_cases
from gateway.cli.policy_set import compile_set, read_set
from gateway.policy_files import policy_root
from gateway.reason import Reason

CATALOG = compile_set(read_set(""), "/client/v4")
SHIPPED = sorted((policy_root("") / "tests").glob("*.toml"))
ALPHA, NORTH = "a" * 32, "1" * 32

CASE = """
[[case]]
name = "one"
token = [{ allow = ["DNS Read"], on = ["zone:*"] }]
request = "GET /client/v4/zones/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/dns_records"
expect = "allow"
"""


def judged(path: Path) -> CaseFile:
    return read_cases(path.name, path, CATALOG)


CASES = [(path.name, case) for path in SHIPPED for case in judged(path).cases]


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{file}: {case.name}") for file, case in CASES])
def test_a_shipped_case_comes_out_as_it_is_written_down(case: Case) -> None:
    assert case.outcome == case.expect


def test_the_shipped_table_has_each_template_each_reason_and_each_form_of_a_resource() -> None:
    texts = "".join(path.read_text() for path in SHIPPED)
    assert len(CASES) >= 80
    for template in CATALOG.templates:
        assert f'template = "{template.name}"' in texts
    for form in (
        "zone:*",
        "zone:{alpha}",
        "zones-of:{north}",
        "account:{north}",
        "account:*",
        "user:self",
        "user:{me}",
    ):
        assert f'"{form}"' in texts, form
    for api in ("cloudflare-dns", "billing", "powerdns", "zonegate"):
        assert f'api = "{api}"' in texts
    assert {case.expect for _, case in CASES} == {
        "allow",
        Reason.TOKEN_DISABLED,
        Reason.TOKEN_NOT_YET_VALID,
        Reason.TOKEN_EXPIRED,
        Reason.IP_DENIED,
        Reason.MISSING_CREDENTIALS,
        Reason.BAD_REQUEST,
        Reason.NO_ROUTE,
        Reason.METHOD_NOT_ALLOWED,
        Reason.FORBIDDEN,
        Reason.UPSTREAM_UNREACHABLE,
        Reason.INVALID_BODY,
    }
    assert not [name for name, count in Counter(case.name for _, case in CASES).items() if count > 1]


def outcome_of(text: str) -> Case:
    (case,) = judge_cases("a.toml", text, CATALOG).cases
    return case


def test_a_case_that_does_not_hold_says_what_came_instead() -> None:
    case = outcome_of(CASE.replace('"allow"', '"forbidden"'))
    assert not case.holds
    fault = as_fault("a.toml", case)
    assert (fault.line, fault.message) == (2, "case 'one': expected forbidden, and it is allow")


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        pytest.param(("zone:*", f"zones-of:{NORTH}"), "a question", id="an account that the case does not say"),
        pytest.param(("expect", 'api = "billing"\nexpect'), "no route of billing", id="a route of another API"),
    ],
)
def test_a_case_that_leaves_something_open_does_not_hold(change: tuple[str, str], outcome: str) -> None:
    case = outcome_of(CASE.replace(*change))
    assert not case.holds
    assert outcome in case.outcome


def test_a_name_stands_for_an_id_wherever_a_case_has_texts() -> None:
    text = f'[names]\nalpha = "{ALPHA}"\n' + CASE.replace(ALPHA, "{alpha}").replace("zone:*", "zone:{alpha}")
    assert outcome_of(text).holds


def test_a_resource_may_be_written_as_the_token_api_has_it() -> None:
    assert outcome_of(CASE.replace("zone:*", "com.cloudflare.api.account.zone.*")).holds


def test_a_group_may_be_named_by_its_id() -> None:
    read = next(group for group in CATALOG.groups if group.name == "DNS Read")
    assert outcome_of(CASE.replace("DNS Read", f"id:{read.id}")).holds


@pytest.mark.parametrize(
    ("leaves", "notes"),
    [
        pytest.param("", ("note: DNS Read is taken away, but not DNS Write, which reads too",), id="by mistake"),
        pytest.param("leaves_write = true\n", (), id="on purpose"),
    ],
)
def test_a_deny_of_read_alone_is_noted_unless_it_is_meant(leaves: str, notes: tuple[str, ...]) -> None:
    text = CASE.replace("zone:*", "zone:*").replace(
        "token = [", 'token = [{ deny = ["DNS Read"], on = ["zone:*"] }, { allow = ["DNS Write"], on = ["zone:*"] },'
    )
    assert outcome_of(text + leaves).notes == notes


def more(line: str) -> str:
    return CASE + line + "\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(CASE + CASE, "its name is taken", id="a name twice"),
        pytest.param(CASE.replace('"allow"', '"yes"'), "expect: 'allow' or a reason", id="another word"),
        pytest.param(CASE.replace("DNS Read", "DNS Raed"), "no permission group 'DNS Raed'", id="an unknown group"),
        pytest.param(CASE.replace("DNS Read", "Billing Read"), "token: ", id="a token that there cannot be"),
        pytest.param(CASE.replace("zone:*", "zoen:*"), "on: 'zoen:*'", id="an unknown kind"),
        pytest.param(CASE.replace("zone:*", "zone:{alpha}"), "{alpha} is not among the names", id="an unknown name"),
        pytest.param(CASE.replace('"zone:*"', '"zone:*", "zone:*"'), "names what another", id="a resource twice"),
        pytest.param(CASE.replace("allow = [", "deny = ["), None, id="a deny alone is a token"),
        pytest.param(
            CASE.replace('allow = ["DNS Read"]', 'allow = ["DNS Read"], deny = ["DNS Read"]'),
            "allow or deny",
            id="both effects",
        ),
        pytest.param(more('template = "WordPress"'), "a token or a template", id="a token and a template"),
        pytest.param(more('on = ["zone:*"]'), "on: goes with a template", id="resources beside a token"),
        pytest.param(more('at = "yesterday"'), "at: 'yesterday'", id="no moment"),
        pytest.param(more('ip = "here"'), "ip: 'here'", id="no address"),
        pytest.param(more('acts_for = "zone:x"'), "acts_for: ", id="no owner"),
        pytest.param(more('owner = [{ allow = ["DNS Read"], on = ["zone:a*"] }]'), "owner: ", id="a broken ceiling"),
        pytest.param(more("spelt = 1"), "unknown key", id="an unknown key"),
        pytest.param(CASE.replace('"GET /', '"GET  /'), "request", id="no request"),
    ],
)
def test_a_case_that_is_none_is_told_by_its_name_and_line(text: str, says: str | None) -> None:
    if says is None:
        assert outcome_of(text).outcome == Reason.FORBIDDEN
        return
    with pytest.raises(CatalogError) as raised:
        judge_cases("a.toml", text, CATALOG)
    (fault,) = raised.value.faults
    assert says in fault.message
    assert fault.line > 1


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        pytest.param('template = "Nothing"\n', "there is none called 'Nothing'", id="an unknown template"),
        pytest.param('template = "Edit zone DNS"\n', "asks for a zone", id="nothing chosen"),
    ],
)
def test_a_template_is_filled_in_or_the_case_is_none(lines: str, says: str) -> None:
    text = CASE.replace('token = [{ allow = ["DNS Read"], on = ["zone:*"] }]\n', lines)
    with pytest.raises(CatalogError, match=says):
        judge_cases("a.toml", text, CATALOG)


def test_all_cases_that_are_none_are_told_at_once() -> None:
    text: Any = CASE.replace("zone:*", "a") + CASE.replace("one", "two").replace('"allow"', '"b"')
    with pytest.raises(CatalogError) as raised:
        judge_cases("a.toml", text, CATALOG)
    assert [fault.line for fault in raised.value.faults] == [2, 8]
