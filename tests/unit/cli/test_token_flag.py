import pytest
import typer

from gateway.cli.token_flag import Flags, flags


def test_what_typer_leaves_out_is_left_out() -> None:
    assert flags(name=None, zone=None, all_zones=False, ip=["192.0.2.0/24"]) == Flags(ip=("192.0.2.0/24",))


@pytest.mark.parametrize(
    ("said", "of_policies"),
    [
        ({"name": "x", "ip": ["::1"], "not_ip": ["::2"], "expires": "1d", "not_before": "1d"}, False),
        ({"no_ip": True, "no_expiry": True}, False),
        ({"template": "WordPress"}, True),
        ({"template": ""}, True),
        ({"permission": ["DNS Write"]}, True),
        ({"zone": ["a.example"]}, True),
        ({"all_zones": True}, True),
        ({"account": ["a"]}, True),
        ({"all_accounts": True}, True),
        ({"except_zone": ["a.example"]}, True),
        ({"user": True}, True),
    ],
)
def test_flags_for_permissions_and_resources_are_of_policies(said: dict[str, object], *, of_policies: bool) -> None:
    assert flags(**said).of_policies is of_policies


@pytest.mark.parametrize(("said", "flag"), [({"name": "\udcff"}, "--name"), ({"not_ip": ["x", "\udcff"]}, "--not-ip")])
def test_text_that_is_not_utf8_is_wrong_use(
    said: dict[str, object], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        flags(**said)
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == f"zonegate: {flag} '\\udcff': not UTF-8\n"
