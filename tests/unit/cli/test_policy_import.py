import json
from pathlib import Path
from shutil import copytree

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.cli.policy_import import LARGEST, LARGEST_YAML
from gateway.cli.policy_openapi import GROUPS_KEY
from gateway.policy_files import policy_root

OPERATIONS = 2000


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the policies in the package, beside which there are no settings."""
    copytree(policy_root(""), tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "policies"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["policy", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def write(paths: dict[str, object], name: str = "openapi.json") -> str:
    document = {"openapi": "3.1.0", "servers": [{"url": "https://api.example/v1"}], "paths": paths}
    Path(name).write_text(json.dumps(document))
    return name


def large_document() -> str:
    group = {GROUPS_KEY: ["DNS Write"]}
    methods = ("get", "put", "patch", "delete")
    paths = {
        f"/zones/{{zone_id}}/things{index}/{{thing_id}}": dict.fromkeys(methods, group)
        for index in range(OPERATIONS // len(methods))
    }
    return write({**paths, "/zones": {"get": group}})


def test_routes_of_2000_operations_pass_the_check(directory: Path) -> None:
    result = run("import-openapi", large_document(), "--name", "things", "-o", str(directory / "apis" / "things.toml"))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "zonegate: left out: GET /zones: no parameter names a zone, an account or a user",
        f"zonegate: {OPERATIONS + 1} operations: 500 routes; 1 left out",
    ]
    assert run("check", "policies").stdout == "policies: no errors, no warnings\n"


def test_programs_get_what_was_found_and_left_out_where_the_routes_have_a_file() -> None:
    name = write({"/zones/{zone_id}": {"get": {GROUPS_KEY: ["DNS Read"]}}, "/zones": {"get": {}}})
    result = run("import-openapi", name, "--name", "things", "-o", "things.toml", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    left_out = [{"method": "GET", "path": "/zones", "why": "no parameter names a zone, an account or a user"}]
    assert json.loads(result.stdout) == {"operations": 2, "routes": 1, "left_out": left_out}
    refused = run("import-openapi", name, "--name", "things", "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("zonegate: --json: standard output has the routes themselves: --output ")


def test_without_a_file_the_routes_are_printed() -> None:
    name = write({"/zones/{zone_id}": {"get": {GROUPS_KEY: ["DNS Read"]}}})
    result = run("import-openapi", name, "--name", "things", "--prefix", "/v2")
    assert 'prefix = "/v2"' in result.stdout
    assert 'path = "/zones/{zone_id}"' in result.stdout
    assert "left out" in result.stderr


def test_what_is_there_is_written_over_only_on_demand() -> None:
    name = write({})
    Path("out.toml").write_text("mine")
    refused = run("import-openapi", name, "--name", "things", "-o", "out.toml")
    assert (refused.exit_code, Path("out.toml").read_text()) == (2, "mine")
    assert run("import-openapi", name, "--name", "things", "-o", "out.toml", "--force").exit_code == 0
    assert "things" in Path("out.toml").read_text()


def test_an_api_that_is_imported_anew_does_not_stand_in_its_own_way(directory: Path) -> None:
    name = write({"/zones/{zone_id}": {"get": {GROUPS_KEY: ["DNS Read"]}}})
    out = str(directory / "apis" / "things.toml")
    Path("zonegate.toml").write_text(f"policies.dir = '{directory}'")
    for _ in range(2):
        result = run("import-openapi", name, "--name", "things", "-o", out, "--force")
        assert "1 route; none left out" in result.stderr


def test_routes_of_another_api_are_left_to_it() -> None:
    name = write({"/zones/{zone_id}/dns_records": {"get": {GROUPS_KEY: ["DNS Read"]}}})
    result = run("import-openapi", name, "--name", "things", "--prefix", "/client/v4")
    assert "the API cloudflare-dns has the same shape and method" in result.stderr


def test_what_a_document_holds_cannot_play_with_the_terminal() -> None:
    result = run("import-openapi", write({"/\x1b[2J\u202e": {"get": {}}}), "--name", "things")
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "\u202e" not in result.output


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"{" + b" " * LARGEST + b"}", "over 16 MiB", id="too large"),
        pytest.param(b"#" * (LARGEST_YAML + 1), "over 6 MiB of YAML", id="too large for YAML"),
        pytest.param(b"\xff", "not UTF-8", id="not UTF-8"),
        pytest.param(b"{", "not JSON", id="no JSON"),
        pytest.param(b"a: [", "not YAML", id="no YAML"),
        pytest.param(b'{"swagger": "2.0"}', "not an OpenAPI 3 document", id="an older one"),
        pytest.param(None, "No such file", id="no file"),
    ],
)
def test_bad_input_is_one_line_and_wrong_use(content: bytes | None, says: str) -> None:
    if content is not None:
        Path("bad").write_bytes(content)
    result = run("import-openapi", "bad", "--name", "things")
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        pytest.param(("--name", "My API"), "--name", id="a name that is none"),
        pytest.param(("--name", "zonegate"), "the token API's", id="the token API's name"),
        pytest.param(("--name", "things", "--prefix", "v1"), "--prefix", id="a prefix that is none"),
        pytest.param(("--name", "things", "--prefix", "/a/../b"), "dot segment", id="a prefix with a dot segment"),
        pytest.param(("--name", "things", "-o", "no/such/folder"), "No such file", id="nowhere to write"),
    ],
)
def test_wrong_flags_are_told(flags: tuple[str, ...], says: str) -> None:
    result = run("import-openapi", write({}), *flags)
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_byte_order_mark_is_no_matter() -> None:
    Path("marked.json").write_bytes(b"\xef\xbb\xbf" + Path(write({})).read_bytes())
    assert run("import-openapi", "marked.json", "--name", "things").exit_code == 0
