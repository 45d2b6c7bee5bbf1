"""The root of the command: help, version, and `init`."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.processes import ZONEGATE
from typer.main import get_command
from typer.testing import CliRunner

from gateway import __version__
from gateway.cli.main import app
from gateway.store.embedded import EmbeddedServer
from gateway.store.keys import AUDIT, OWNERS, owner_key, token_key
from gateway.tokens.secret import parse_secret


def commands() -> list[list[str]]:
    """Every command and subcommand, as arguments."""
    found: list[list[str]] = [[]]

    def walk(command: object, path: list[str]) -> None:
        for name, child in getattr(command, "commands", {}).items():
            found.append([*path, name])
            walk(child, [*path, name])

    walk(get_command(app), [])
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_explains_itself(path: list[str]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    groups = [[], ["token"], ["store"]]
    assert path in groups or "Example" in done.output
    assert "Usage: " in done.output


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_nothing_stands_behind_a_flag_and_a_paragraph_is_broken_by_the_terminal_alone(path: list[str]) -> None:
    printed = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "1000"}).output
    assert "<bool>" not in printed
    assert "--help" in printed
    prose = [line.strip() for line in printed.splitlines() if line.startswith(" ") and line.strip()]
    assert all(line.endswith((".", "]", ")")) or line.startswith(("Usage", "Example", "Try")) for line in prose), prose


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(
            ["zoen"], "No such command 'zoen'. Did you mean 'zone', 'token'? See `zonegate --help`.", id="a command"
        ),
        pytest.param(["doctor", "-X"], "No such option: -X. See `zonegate doctor --help`.", id="a flag"),
        pytest.param(["token", "show"], "Missing argument 'ID'. See `zonegate token show --help`.", id="an argument"),
    ],
)
def test_wrong_use_is_one_line_that_names_the_help(arguments: list[str], said: str) -> None:
    done = subprocess.run([ZONEGATE, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"zonegate: {said}\n")


def test_ctrl_c_is_one_line_and_the_shell_s_own_code() -> None:
    """Whatever the command was about to do: here it waits for a gateway that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = os.environ | {
            "ZONEGATE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "ZONEGATE_TOKEN": "zgt_x",
        }
        command = [ZONEGATE, "token", "list"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as asking:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1)  # the request is on its way
                asking.send_signal(signal.SIGINT)
                _, said = asking.communicate(timeout=60)
    assert asking.returncode == 130
    assert (said.count("\n"), said.partition(":")[0], "interrupted" in said) == (1, "zonegate", True)


def test_a_pipe_that_nobody_reads_ends_the_command_without_a_word() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [ZONEGATE, "completion", "bash"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_what_each_command_prints_as_json_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()
    described = set(re.findall(r"^\| `([a-z -]+)` \|", page, re.MULTILINE))
    prints_json = {
        " ".join(path)
        for path in commands()
        if "--json" in CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).output.split()
    }
    # The root's help does not have the flag; those of groups do not, either.
    assert described == prints_json


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"zonegate {__version__}\n"


def test_an_unknown_command_is_wrong_use() -> None:
    assert CliRunner().invoke(app, ["tokne"]).exit_code == 2


def config(directory: Path) -> str:
    file = directory / "zonegate.toml"
    file.write_text(f'[store]\ndata_dir = "{directory / "store"}"\n')
    return str(file)


def test_init_prints_the_first_token_once_with_a_line_to_test_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", "--config", config(tmp_path)])
    assert done.exit_code == 0, done.output
    secrets = [word.strip('"') for word in done.stdout.split() if word.startswith("zgt_")]
    assert len(set(secrets)) == 1
    assert parse_secret(secrets[0])
    assert "curl http://127.0.0.1:8080/client/v4/user/tokens/verify" in done.stdout


def test_init_gives_programs_the_token_as_the_api_does(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", "--config", config(tmp_path), "--json"])
    token = json.loads(done.stdout)
    credential = parse_secret(token["value"])
    assert credential is not None
    assert credential.token_id == token["id"]
    assert token["status"] == "active"
    assert [policy["permission_groups"][0]["name"] for policy in token["policies"]] == ["All Permissions"] * 3


def test_a_second_init_is_refused(tmp_path: Path) -> None:
    arguments = ["init", "--config", config(tmp_path)]
    CliRunner().invoke(app, arguments)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "`zonegate init --recover`" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["--version"], 0, id="what says nothing there"),
        pytest.param(["init", "--json"], 0, id="what sets up the logs"),
        pytest.param(["store", "check"], 0, id="what has a bar"),
        pytest.param(["freeze"], 0, id="freeze"),
        pytest.param(["init", "--recover"], 2, id="what is refused"),
        pytest.param(["tokne"], 2, id="wrong use"),
    ],
)
def test_commands_work_without_a_standard_error(arguments: list[str], code: int, tmp_path: Path) -> None:
    environment = os.environ | {"ZONEGATE_STORE__DATA_DIR": str(tmp_path / "store")}
    program = [sys.executable, "-m", "gateway", *arguments]
    closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", *program]
    done = subprocess.run(closed, env=environment, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert (done.stdout != "") is (code == 0)


# Recovery.


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Redis]:
    """What the running store holds that `config(tmp_path)` names."""
    server = EmbeddedServer(tmp_path / "store")
    with Redis.from_url(server.start()) as client:
        yield client
    server.stop()


def init(directory: Path, *arguments: str) -> dict[str, Any]:
    """What `zonegate init --json` prints."""
    done = CliRunner().invoke(app, ["init", "--config", config(directory), "--json", *arguments])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def record(store: Redis, owner: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.get(owner_key(owner)) or b"null")
    return found


def owner_of(store: Redis, token: dict[str, Any]) -> str:
    ref = json.loads(store.get(token_key(token["id"])) or b"null")["owner"]
    return f"{ref['kind']}:{ref['id']}"


def test_recovery_makes_another_token_with_every_right_for_the_first_owner(tmp_path: Path, store: Redis) -> None:
    first, other = init(tmp_path), init(tmp_path, "--recover")
    assert (first["id"], first["value"]) != (other["id"], other["value"])
    assert owner_of(store, first) == owner_of(store, other)
    assert [policy["resources"] for policy in other["policies"]] == [
        policy["resources"] for policy in first["policies"]
    ]
    assert [fields[b"action"] for _, fields in store.xrange(AUDIT)] == [b"init", b"recover"]
    assert store.zcard(OWNERS) == 1


@pytest.mark.parametrize(
    ("change", "name"),
    [
        pytest.param({"status": "disabled"}, "First owner", id="disabled"),
        pytest.param({"policies": [], "name": "Ann"}, "Ann", id="without rights"),
        pytest.param({"status": "?"}, "First owner", id="that cannot be read"),
    ],
)
def test_recovery_makes_the_first_owners_record_active_and_whole(
    tmp_path: Path, store: Redis, change: dict[str, Any], name: str
) -> None:
    owner = owner_of(store, init(tmp_path))
    before = record(store, owner)
    store.set(owner_key(owner), json.dumps(before | change))
    init(tmp_path, "--recover")
    after = record(store, owner)
    assert (after["status"], after["name"]) == ("active", name)
    if "?" not in change.values():  # what cannot be read is made anew
        assert after["issued_on"] == before["issued_on"]
    assert [policy["resources"] for policy in after["policies"]] == [
        policy["resources"] for policy in before["policies"]
    ]


def test_recovery_makes_a_user_where_the_oldest_owner_is_an_account(tmp_path: Path, store: Redis) -> None:
    account = f"account:{'c' * 32}"
    owner = owner_of(store, init(tmp_path))
    store.delete(OWNERS, owner_key(owner))
    store.zadd(OWNERS, {account: 1})
    assert owner_of(store, init(tmp_path, "--recover")).startswith("user:")
    assert store.exists(owner_key(account)) == 0


def test_recovery_of_a_store_without_an_owner_is_refused_and_names_init(tmp_path: Path, store: Redis) -> None:
    done = CliRunner().invoke(app, ["init", "--config", config(tmp_path), "--recover"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "zonegate: there is no owner to recover in this store: without --recover, init makes the first\n"
    )
    assert store.exists(OWNERS) == 0


def test_recovery_says_that_it_is_another_token(tmp_path: Path, store: Redis) -> None:
    owner = owner_of(store, init(tmp_path)).removeprefix("user:")
    done = CliRunner().invoke(app, ["init", "--config", config(tmp_path), "--recover"])
    assert done.stdout.startswith(f"The first owner is user {owner}. Another token of it may do everything; ")
