import io
import json
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Literal

import pytest
from rich.console import Console, RenderableType
from support.records import ACCOUNT_A, USER, ZONE_A, ZONE_B, account, user, zone

from gateway.cli.answer import Answer, Owner, ShownGroup, ShownOwner, ShownPolicy, ShownToken, ShownUse
from gateway.cli.table import (
    accept_any_text,
    owner_list,
    print_json,
    print_json_line,
    print_token,
    print_tokens,
    rights_in_words,
    secret_lines,
    token_blocks,
    token_sheet,
    token_table,
)
from gateway.tokens.condition import Condition, RequestIp
from gateway.tokens.secret import Sensitive


def rendered(renderable: RenderableType, width: int = 400) -> list[str]:
    """The lines that a terminal of so many columns shows, without colours."""
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(renderable)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def policy(effect: Literal["allow", "deny"], names: list[str], resources: dict[str, Any]) -> ShownPolicy:
    return ShownPolicy(effect, tuple(ShownGroup(f"{index:032x}", name) for index, name in enumerate(names)), resources)


TOKEN = ShownToken(
    id="1" * 32,
    name="deploy",
    status="active",
    policies=(
        policy("allow", ["DNS Write", "Zone Write"], {account(ACCOUNT_A): {"com.cloudflare.api.account.zone.*": "*"}}),
        policy("deny", ["DNS Write", "Zone Write"], {zone(ZONE_A): "*", zone(ZONE_B): "*"}),
    ),
    condition=Condition(RequestIp(("192.0.2.0/24",), ("192.0.2.7",))),
    issued_on="2026-11-24T07:00:00Z",
    expires_on="2027-01-31T00:00:00Z",
    last_used_on="2026-12-24T07:00:00Z",
    owner=Owner("user", USER),
    usage=ShownUse(
        "2001:db8::1",
        (ShownUse.Requests("", "no_route", 1), ShownUse.Requests("GET /zones/{zone_id}", "allowed", 12)),
    ),
)
HOSTILE = ShownToken(id="2" * 32, name="[red]\x1b[2J\u202ex[/red]", status="disabled")


def test_the_list_has_a_row_for_each_policy() -> None:
    header, _, first, second, third = rendered(token_table([TOKEN, HOSTILE]))
    assert header.split() == ["id", "name", "status", "permissions", "resources", "expires", "last", "used"]
    for words in (
        "1" * 32,
        "deploy",
        "active",
        "DNS Edit, Zone Edit",
        f"all zones of account {ACCOUNT_A}",
        "2027-01-31",
        "2026-12-24",
    ):
        assert words in first
    assert second.startswith(" ")
    assert "not DNS Edit, Zone Edit" in second
    assert f"zone {ZONE_A}, zone {ZONE_B}" in second
    assert "never" in third


def test_a_long_policy_is_counted_in_the_list_and_told_in_full_on_its_sheet() -> None:
    names = [f"Thing {number} Read" for number in range(7)]
    zones = {zone(f"z{number}.example"): "*" for number in range(6)}
    token = ShownToken("1" * 32, "x", "active", (policy("allow", names, zones),))
    row = rendered(token_table([token]))[2]
    assert "Thing 3 Read and 3 more" in row
    assert "zone z3.example and 2 more" in row
    assert "Thing 6 Read on zone z0.example" in " ".join(rendered(token_sheet(token), 10_000))


def test_in_a_narrow_terminal_ids_stay_whole() -> None:
    lines = rendered(token_blocks([TOKEN, HOSTILE]), 80)
    assert lines[:2] == [f"{'1' * 32}  active  expires: 2027-01-31T00:00:00Z", "  deploy"]
    assert "    last used: 2026-12-24" in lines
    assert f"zone {ZONE_A}" in " ".join(lines)
    assert lines[-2:] == [f"{'2' * 32}  disabled  expires: never", "  [red]\\u001b[2J\\u202ex[/red]"]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        pytest.param(100, 4, id="a row for each, under a head"),
        pytest.param(50, 4, id="too narrow for a row: two lines for each"),
    ],
)
def test_owners_are_whole_in_every_terminal(width: int, lines: int) -> None:
    owner_id = "0123456789abcdef" * 2
    owners = [ShownOwner(id=owner_id, kind=kind, name=f"Team {kind}", status="active") for kind in ("user", "account")]
    printed = rendered(owner_list(owners, Console(width=width)), width)
    assert len(printed) == lines
    for kind in ("user", "account"):
        about = " ".join(line for line in printed if kind in line)
        assert f"Team {kind}" in about
        assert owner_id in about
    assert sum("active" in line for line in printed) == len(owners)


def test_a_sheet_has_all_of_a_token_in_plain_words() -> None:
    assert rendered(token_sheet(TOKEN)) == [
        f"id              {'1' * 32}",
        "name            deploy",
        "status          active",
        f"owner           user {USER}",
        "issued on       2026-11-24T07:00:00Z",
        "last used on    2026-12-24T07:00:00Z",
        "last used from  2001:db8::1",
        f"rights          may use DNS Edit, Zone Edit on all zones of account {ACCOUNT_A}",
        f"                except: may NOT use DNS Edit, Zone Edit on zone {ZONE_A}, zone {ZONE_B}",
        "                only from 192.0.2.0/24",
        "                never from 192.0.2.7",
        "                until 2027-01-31T00:00:00Z",
        "requests        1 no_route: no route",
        "                12 allowed: GET /zones/{zone_id}",
    ]


@pytest.mark.parametrize("render", [token_table, token_blocks])
def test_a_name_is_neither_markup_nor_obeyed(render: Callable[[Iterable[ShownToken]], RenderableType]) -> None:
    shown = rendered(render([HOSTILE]))
    assert any("[red]\\u001b[2J\\u202ex[/red]" in line for line in shown)
    assert not any(unicodedata.category(character) in ("Cc", "Cf") for line in shown for character in line)
    assert "[red]\\u001b[2J\\u202ex[/red]" in rendered(token_sheet(HOSTILE))[1]


def test_a_permission_that_the_catalogue_lost_is_shown_by_its_id() -> None:
    token = ShownToken("1" * 32, "x", "active", (policy("allow", [""], {user(USER): "*"}),))
    assert rights_in_words(token)[0] == f"may use the unknown permission {'0' * 32} on user {USER}"


def test_a_resource_that_is_not_known_is_shown_as_it_is() -> None:
    token = ShownToken("1" * 32, "x", "active", (policy("allow", ["X"], {"com.example.later.1": "*"}),))
    assert "com.example.later.1" in rendered(token_table([token]))[2]


def test_a_new_secret_comes_with_a_line_to_test_it() -> None:
    assert secret_lines("http://127.0.0.1:8080/client/v4", Sensitive("zgt_x")) == [
        "",
        "    zgt_x",
        "",
        "The secret is not shown again. Test it:",
        "",
        '    curl http://127.0.0.1:8080/client/v4/user/tokens/verify -H "Authorization: Bearer zgt_x"',
    ]


def test_json_is_ascii_and_the_same_value(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": HOSTILE.name + "ö", "n": 1}
    print_json(value)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert "\x1b" not in printed
    assert json.loads(printed) == value


def test_what_is_no_terminal_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"A permission with a long name, number {number} Read" for number in range(4)]
    token = ShownToken("1" * 32, "n" * 120, "active", (policy("allow", names, {zone(ZONE_A): "*"}),))
    print_tokens([Answer({}, token)], as_json=False)
    assert len(capsys.readouterr().out.splitlines()) == 3
    print_token(Answer({}, token), as_json=False)
    assert "\x1b" not in capsys.readouterr().out


def test_for_programs_a_token_is_what_the_api_gave(capsys: pytest.CaptureFixture[str]) -> None:
    print_token(Answer({"id": 1}, TOKEN), as_json=True)
    assert json.loads(capsys.readouterr().out) == {"id": 1}
    print_tokens([Answer({"id": 1}, TOKEN)], as_json=True)
    assert json.loads(capsys.readouterr().out) == [{"id": 1}]


def test_a_line_of_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json_line({"name": "a\n\u2028b"})
    printed = capsys.readouterr().out
    assert (printed.isascii(), len(printed.splitlines())) == (True, 1)
    assert json.loads(printed) == {"name": "a\n\u2028b"}


def test_a_terminal_that_lacks_a_character_gets_its_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr("sys.stdout", terminal)
    accept_any_text()
    terminal.write("K\u00f6ln \u6771")
    terminal.flush()
    assert terminal.buffer.getvalue() == b"K\xf6ln \\u6771"  # type: ignore[attr-defined]
