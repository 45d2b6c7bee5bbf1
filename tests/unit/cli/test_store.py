"""`zonegate store`: what it says, how it ends, and that nothing is half done."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis
from support.records import NOW, TOKEN_ID, owner, token
from typer.testing import CliRunner, Result

from gateway.cli import store as module
from gateway.cli.main import app
from gateway.store import backup, keys
from gateway.tokens.digest import Algorithm, Digest

Run = Callable[..., Result]


@pytest.fixture
def zonegate(server: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`zonegate store ARGUMENTS`; never a traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zonegate.toml").write_text(f'[store]\ndata_dir = "{server[0]}"\n')

    def zonegate(*arguments: str, **options: Any) -> Result:
        result = CliRunner().invoke(app, ["store", *arguments], **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return zonegate


@pytest.fixture
def first(redis: Redis, zonegate: Run) -> dict[str, Any]:
    """The first owner's token, as `init` prints it."""
    assert redis.dbsize() == 0
    assert zonegate("check").exit_code == 0
    found: dict[str, Any] = json.loads(CliRunner().invoke(app, ["init", "--json"]).stdout)
    return found


def end_of(result: Result) -> tuple[int, str, str]:
    return result.exit_code, result.stdout, result.stderr


# check


def test_a_consistent_store_is_said_to_be_so(first: dict[str, Any], zonegate: Run) -> None:
    assert first["status"] == "active"
    assert end_of(zonegate("check")) == (0, "The store is consistent: 1 token and 1 owner.\n", "")


def test_a_disagreement_is_a_line_and_exit_code_1_and_repair_mends_it(
    first: dict[str, Any], zonegate: Run, redis: Redis
) -> None:
    lists = redis.keys("{zg}:living:*")
    redis.delete(*lists)
    line = f"{{zg}}:token:{first['id']}: is not in {lists[0].decode()}"
    assert end_of(zonegate("check")) == (
        1,
        f"{line}\nFound 1 disagreement in 1 token and 1 owner; --repair mends the lists among them.\n",
        "",
    )
    assert end_of(zonegate("check", "--repair")) == (
        0,
        f"{line}: mended\nMended 1 disagreement in 1 token and 1 owner: the store is consistent.\n",
        "",
    )
    assert zonegate("check").exit_code == 0


def test_what_cannot_be_mended_stays_and_is_exit_code_1(first: dict[str, Any], zonegate: Run, redis: Redis) -> None:
    redis.set(keys.token_key(TOKEN_ID), b"\x1b[2J")
    redis.zrem(keys.tokens_key("user:x"), "x")
    result = zonegate("check", "--repair")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == (
        f"{{zg}}:token:{TOKEN_ID}: a document of the type Token cannot be read: not mended"
    )
    assert "import --overwrite" in result.stdout
    assert redis.get(keys.token_key(TOKEN_ID)) == b"\x1b[2J"
    assert redis.exists(keys.token_key(first["id"]))


def test_what_a_key_holds_is_printed_without_what_a_terminal_obeys(
    first: dict[str, Any], zonegate: Run, redis: Redis
) -> None:
    assert first["id"]
    redis.zadd(keys.EXPIRIES, {"\x1b[2J\u202e": 5})
    printed = zonegate("check").stdout
    assert "\\u001b[2J\\u202e" in printed
    assert "\x1b" not in printed


def test_many_disagreements_are_counted(
    first: dict[str, Any], zonegate: Run, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first["id"]
    monkeypatch.setattr(module.consistency, "MOST_TOLD", 2)
    redis.zadd(keys.EXPIRIES, {f"junk{number}": number for number in range(5)})
    lines = zonegate("check").stdout.splitlines()
    assert len(lines) == 4
    assert lines[2:] == [
        "and 3 more",
        "Found 5 disagreements in 1 token and 1 owner; --repair mends the lists among them.",
    ]


def test_programs_get_json_with_the_same_exit_codes(first: dict[str, Any], zonegate: Run, redis: Redis) -> None:
    result = zonegate("check", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (
        0,
        {"consistent": True, "tokens": 1, "owners": 1, "found": 0, "mended": 0, "findings": []},
    )
    redis.delete(keys.EXPIRIES, *redis.keys("{zg}:tokens:*"))
    result = zonegate("check", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["consistent"], found["found"]) == (1, False, 1)
    assert found["findings"][0]["key"] == keys.token_key(first["id"])
    assert set(found["findings"][0]) == {"key", "fault", "mended"}


# export and import


def test_a_store_goes_into_a_file_and_comes_back(first: dict[str, Any], zonegate: Run, redis: Redis) -> None:
    assert end_of(zonegate("export", "copy.jsonl")) == (0, "Copied 1 owner and 1 token.\n", "")
    assert first["value"] not in Path("copy.jsonl").read_text()
    before = redis.get(keys.token_key(first["id"]))
    redis.flushall()
    assert end_of(zonegate("import", "copy.jsonl")) == (
        0,
        "Wrote 2 documents, 0 were there already: all of the file, 1 owner and 1 token, is in the store.\n",
        "",
    )
    assert redis.get(keys.token_key(first["id"])) == before
    assert zonegate("import", "copy.jsonl").stdout.startswith("Wrote 0 documents, 2 were there already: ")


def test_a_copy_goes_through_standard_output_and_input(first: dict[str, Any], zonegate: Run, redis: Redis) -> None:
    result = zonegate("export", "-")
    assert (result.exit_code, result.stderr) == (0, "Copied 1 owner and 1 token.\n")
    redis.flushall()
    assert zonegate("import", "-", input=result.stdout_bytes).exit_code == 0
    assert redis.exists(keys.token_key(first["id"]))


def test_programs_get_the_counts_as_json(first: dict[str, Any], zonegate: Run, redis: Redis) -> None:
    assert first["id"]
    exported = json.loads(zonegate("export", "copy.jsonl", "--json").stdout)
    assert exported == {"owners": 1, "tokens": 1, "resumed": 0, "seen": 1, "left_out": [], "zones": 0}
    redis.flushall()
    assert json.loads(zonegate("import", "copy.jsonl", "--json").stdout) == {
        "owners": 1,
        "tokens": 1,
        "zones": 0,
        "written": 2,
        "same": 0,
        "refused_count": 0,
        "refused": [],
        "wrong": 0,
    }
    assert zonegate("export", "-", "--json").exit_code == 2


def test_a_file_that_is_there_is_refused_unless_forced(first: dict[str, Any], zonegate: Run) -> None:
    assert first["id"]
    Path("copy.jsonl").write_text("precious")
    result = zonegate("export", "copy.jsonl")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "zonegate: copy.jsonl: is there already: --force puts another in its place\n"
    assert Path("copy.jsonl").read_text() == "precious"
    assert zonegate("export", "copy.jsonl", "--force").exit_code == 0


def test_a_device_a_pipe_or_a_link_is_refused_even_if_forced(zonegate: Run) -> None:
    os.mkfifo("pipe")
    Path("link").symlink_to("nowhere")
    for name in ("pipe", "link"):
        said = f"zonegate: {name}: not a regular file; - is standard output\n"
        assert end_of(zonegate("export", name, "--force")) == (1, "", said)
    assert Path("pipe").is_fifo()
    assert Path("link").is_symlink()


def test_an_import_from_a_pipe_is_refused_and_names_standard_input(zonegate: Run) -> None:
    os.mkfifo("pipe")
    said = "zonegate: pipe: not a regular file; use - and standard input\n"
    assert end_of(zonegate("import", "pipe")) == (1, "", said)


def test_an_import_follows_a_link(first: dict[str, Any], zonegate: Run) -> None:
    assert first["id"]
    zonegate("export", "copy.jsonl")
    Path("link").symlink_to("copy.jsonl")
    assert zonegate("import", "link").exit_code == 0


def test_an_export_that_was_interrupted_goes_on(first: dict[str, Any], zonegate: Run) -> None:
    assert first["id"]
    zonegate("export", "copy.jsonl")
    text = Path("copy.jsonl").read_bytes()
    Path("other.jsonl.part").write_bytes(b"".join(text.splitlines(keepends=True)[:2]) + b"{")
    result = zonegate("export", "other.jsonl")
    assert end_of(result) == (0, "Copied 1 owner and 1 token, 1 of them by an earlier run.\n", "")
    assert Path("other.jsonl").read_bytes().splitlines()[1:] == text.splitlines()[1:]


def test_what_could_not_be_copied_is_told_and_is_exit_code_1(
    first: dict[str, Any], zonegate: Run, redis: Redis
) -> None:
    redis.set(keys.token_key(first["id"]), b"{")
    result = zonegate("export", "copy.jsonl")
    assert end_of(result) == (
        1,
        "Copied 1 owner and 0 tokens.\n",
        f"Left out {{zg}}:token:{first['id']}: a document of the type Token cannot be read\n",
    )
    assert Path("copy.jsonl").exists()


def test_tokens_that_are_in_no_list_are_told_of(first: dict[str, Any], zonegate: Run, redis: Redis) -> None:
    redis.delete(*redis.keys("{zg}:tokens:*"))
    result = zonegate("export", "copy.jsonl")
    assert (result.exit_code, result.stdout) == (0, "Copied 1 owner and 0 tokens.\n")
    assert result.stderr.startswith("The store has 1 more: ")
    assert redis.exists(keys.token_key(first["id"]))


BAD: list[Any] = [
    pytest.param(b"", "copy.jsonl: not a file of `zonegate store export`", id="empty"),
    pytest.param(b"[" * 100_000, "copy.jsonl: not a file of `zonegate store export`", id="100,000 brackets"),
    pytest.param(None, "copy.jsonl: No such file or directory", id="not there"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_a_file_that_cannot_be_used_is_one_line_and_changes_nothing(
    text: bytes | None, said: str, zonegate: Run, redis: Redis
) -> None:
    if text is not None:
        Path("copy.jsonl").write_bytes(text)
    assert end_of(zonegate("import", "copy.jsonl")) == (1, "", f"zonegate: {said}\n")
    assert redis.dbsize() == 0


def test_every_truncated_file_is_refused_before_anything_is_written(
    first: dict[str, Any], zonegate: Run, redis: Redis
) -> None:
    assert first["id"]
    zonegate("export", "copy.jsonl")
    text = Path("copy.jsonl").read_bytes()
    redis.flushall()
    for line in (1, 2, 3):
        Path("cut.jsonl").write_bytes(b"".join(text.splitlines(keepends=True)[:line]))
        result = zonegate("import", "cut.jsonl")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == "zonegate: cut.jsonl: was cut off: its last line is missing\n"
        assert redis.dbsize() == 0


def test_a_document_that_differs_is_named_and_overwritten_on_demand(
    first: dict[str, Any], zonegate: Run, redis: Redis
) -> None:
    name = keys.token_key(first["id"])
    zonegate("export", "copy.jsonl")
    before = redis.get(name)
    redis.set(name, msgspec.json.encode(msgspec.json.decode(before) | {"name": "other"}))
    result = zonegate("import", "copy.jsonl")
    assert end_of(result) == (
        1,
        "Wrote 0 documents, 1 were there already; not in the store as in the file: 1 document.\n",
        f"{name}: differs, and was left as it is: --overwrite replaces it\n",
    )
    assert zonegate("import", "copy.jsonl", "--overwrite").exit_code == 0
    assert redis.get(name) == before


def test_many_documents_that_differ_are_counted(
    first: dict[str, Any], zonegate: Run, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "MOST_TOLD", 1)
    zonegate("export", "copy.jsonl")
    redis.set(keys.token_key(first["id"]), b"{}")
    redis.set(redis.keys("{zg}:owner:*")[0], b"{}")
    lines = zonegate("import", "copy.jsonl").stderr.splitlines()
    assert lines[1:] == ["and 1 more"]


def test_tokens_that_need_a_pepper_that_is_not_set_are_refused_unless_asked_for(zonegate: Run, redis: Redis) -> None:
    digest = Digest(alg=Algorithm.HMAC_SHA256, key="0badcafe", hex="0" * 64)
    lines = [
        {"format": "zonegate-store", "version": 1, "schema": 1, "created": "2027-01-15T08:00:00Z"},
        {"kind": "owner", "place": NOW, "document": owner()},
        {"kind": "token", "place": NOW, "document": token(digests=(digest,))},
    ]
    text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    end = {"kind": "end", "owners": 1, "tokens": 1, "sha256": hashlib.sha256(text).hexdigest()}
    Path("copy.jsonl").write_bytes(text + msgspec.json.encode(end) + b"\n")
    result = zonegate("import", "copy.jsonl")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("zonegate: store.pepper: 1 token of the file cannot work without 0badcafe: ")
    assert redis.dbsize() == 0
    assert zonegate("import", "copy.jsonl", "--unknown-peppers").exit_code == 0
    assert redis.exists(keys.token_key(TOKEN_ID))


def test_a_directory_is_no_file(zonegate: Run) -> None:
    assert zonegate("import", ".").exit_code == 2
