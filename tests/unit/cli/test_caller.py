from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from support.records import CATALOG

from gateway.cli.address import BadAddress
from gateway.cli.caller import caller_of, new_id, template_of
from gateway.cli.main import app
from gateway.settings import SettingsError

Environment = Callable[..., None]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Context:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZONEGATE_TOKEN", "zgt_x")
    monkeypatch.delenv("ZONEGATE_URL", raising=False)
    return typer.Context(typer.main.get_command(app))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "other.toml"
    file.write_text("[listen]\nport = 9090\n")
    return file


def test_the_url_is_the_environments(context: typer.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZONEGATE_URL", "https://gate.example/client/v4/")
    caller = caller_of(context, None)
    assert (caller.url, caller.secret.reveal()) == ("https://gate.example/client/v4", "zgt_x")
    assert "zgt_x" not in repr(caller)


def test_settings_that_are_not_needed_are_not_read(
    context: typer.Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "zonegate.toml").write_text('[upstreams.billing]\ntargets = ["${NOT_SET_HERE}"]\n')
    with pytest.raises(SettingsError):
        caller_of(context, None)
    monkeypatch.setenv("ZONEGATE_URL", "https://gate.example/client/v4")
    caller_of(context, None)


@pytest.mark.parametrize("value", ["", None])
def test_without_a_url_it_is_the_settings_listener(
    context: typer.Context, config: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("ZONEGATE_URL", value)
    assert caller_of(context, None).url == "http://127.0.0.1:8080/client/v4"
    assert caller_of(context, config).url == "http://127.0.0.1:9090/client/v4"
    context.obj = config  # `zonegate --config FILE token ...`
    assert caller_of(context, None).url == "http://127.0.0.1:9090/client/v4"


def test_without_a_token_nobody_is_asked(context: typer.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZONEGATE_TOKEN")
    with pytest.raises(BadAddress):
        caller_of(context, None)


def test_templates_are_those_of_the_settings_policies(context: typer.Context, tmp_path: Path) -> None:
    assert template_of(context, None, None) is None
    assert template_of(context, None, "wordpress") == next(t for t in CATALOG.templates if t.name == "WordPress")
    file = tmp_path / "zonegate.toml"
    file.write_text('[policies]\ndir = "nowhere"\n')
    with pytest.raises(SettingsError, match=r"policies\.dir"):
        template_of(context, None, "wordpress")


def test_an_id_is_32_hex_digits_and_another_each_time() -> None:
    assert int(new_id(), 16) >= 0
    assert len(new_id()) == 32
    assert new_id() != new_id()
