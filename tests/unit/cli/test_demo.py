"""What the demo keeps and prints; the whole of it runs in tests/e2e/test_demo.py."""

from pathlib import Path

import msgspec
import pytest

from gateway.cli.demo import Kept, _first_token, _keep, _lines, _settings
from gateway.start_error import StartError
from gateway.store_access import ready_store

SECRET = "zgt_" + "a" * 32 + "_rest"


def test_each_line_to_paste_says_what_it_gives() -> None:
    lines = _lines("http://127.0.0.1:8080/client/v4", "first", SECRET).splitlines()
    for number, line in enumerate(lines):
        if "curl" in line and "$" in line:
            assert lines[number - 1].split()[1].rstrip(":").isdigit()
    assert sum("curl -i" in line for line in lines) == 5
    assert f"/user/tokens/{'a' * 32}/value" in "\n".join(lines)


def test_the_secrets_are_kept_in_a_file_for_the_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    _keep(Kept("first", "dns"), file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert msgspec.json.decode(file.read_bytes(), type=Kept) == Kept("first", "dns")


def test_the_demos_settings_put_its_own_key_in_the_clients_place(tmp_path: Path) -> None:
    settings = _settings(tmp_path, 1, 2, "http://127.0.0.1:3", "the-key")
    assert {name: upstream.credential.value.reveal() for name, upstream in settings.upstreams.items()} == {
        "cloudflare-dns": "Bearer the-key",
        "billing": "Bearer the-key",
    }


def test_a_store_whose_first_token_nobody_knows_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "store", 1, 2, "http://127.0.0.1:3", "the-key")
    file = tmp_path / "store" / "demo.json"
    with ready_store(settings):
        _first_token(settings, file)
        file.unlink()
        with pytest.raises(StartError, match=r"remove .* to begin anew"):
            _first_token(settings, file)
