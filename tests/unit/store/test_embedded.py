import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from support.processes import alive, until

from gateway.store.embedded import EmbeddedError, EmbeddedServer

New = Callable[[Path], EmbeddedServer]


@pytest.fixture
def new() -> Iterator[New]:
    """`new(data_dir)`: a server that is stopped at the end, if the test did not."""
    with contextlib.ExitStack() as stack:

        def new(data_dir: Path) -> EmbeddedServer:
            server = EmbeddedServer(data_dir)
            stack.callback(server.stop)
            return server

        yield new


@contextlib.contextmanager
def client(url: str) -> Iterator["Redis"]:
    found = Redis.from_url(url)
    with contextlib.closing(found):
        yield found


def socket_of(url: str) -> Path:
    return Path(url.removeprefix("unix://"))


def pid_of(data_dir: Path) -> int:
    return int(json.loads((data_dir / "server.json").read_text())["pid"])


def test_it_answers_on_a_unix_socket_that_only_we_can_reach(new: New, tmp_path: Path) -> None:
    url = new(tmp_path / "deep" / "down").start()
    with client(url) as redis:
        assert redis.ping()
    assert socket_of(url).is_socket()
    assert socket_of(url).stat().st_mode & 0o777 == 0o600
    assert socket_of(url).parent.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "deep" / "down").stat().st_mode & 0o777 == 0o700


def test_it_opens_no_port_and_loses_nothing_that_it_acknowledged(new: New, tmp_path: Path) -> None:
    with client(new(tmp_path).start()) as redis:
        found = redis.config_get("*")
    assert {name: found[name] for name in ("port", "appendonly", "appendfsync", "maxmemory-policy", "dir")} == {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "dir": str(tmp_path),
    }


def test_a_note_in_the_data_dir_says_where_it_is(new: New, tmp_path: Path) -> None:
    url = new(tmp_path).start()
    note = json.loads((tmp_path / "server.json").read_text())
    assert note["socket"] == str(socket_of(url))
    assert alive(note["pid"])


def test_a_second_start_finds_the_one_that_runs_and_leaves_it_running(new: New, tmp_path: Path) -> None:
    first, second = new(tmp_path), new(tmp_path)
    url = first.start()
    assert second.start() == url
    assert (first.owned, second.owned) == (True, False)
    second.stop()
    with client(url) as redis:
        assert redis.ping()


def test_two_data_dirs_have_two_servers(new: New, tmp_path: Path) -> None:
    one, other = new(tmp_path / "one").start(), new(tmp_path / "other").start()
    with client(one) as first, client(other) as second:
        first.set("key", "value")
        assert second.get("key") is None


def test_a_stop_ends_it_and_takes_socket_and_note_away(new: New, tmp_path: Path) -> None:
    server = new(tmp_path)
    url, pid = server.start(), pid_of(tmp_path)
    server.stop()
    assert not alive(pid)
    assert not socket_of(url).parent.exists()
    assert not (tmp_path / "server.json").exists()
    assert not server.owned


def test_a_stop_before_the_start_and_a_second_one_do_nothing(new: New, tmp_path: Path) -> None:
    server = new(tmp_path)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert not (tmp_path / "server.json").exists()


def test_a_stop_frees_the_data_dir_even_when_the_note_is_gone(new: New, tmp_path: Path) -> None:
    server = new(tmp_path)
    url = server.start()
    (tmp_path / "server.json").unlink()
    server.stop()
    assert not server.owned
    assert not socket_of(url).parent.exists()


def test_a_server_that_came_after_is_not_the_one_that_was_found(new: New, tmp_path: Path) -> None:
    first, second, third = new(tmp_path), new(tmp_path), new(tmp_path)
    first.start()
    second.start()
    first.stop()
    third.start()
    assert third.is_running()
    assert not second.is_running()


def test_it_is_running_from_its_start_to_its_end(new: New, tmp_path: Path) -> None:
    first, second = new(tmp_path), new(tmp_path)
    assert not first.is_running()
    first.start()
    second.start()
    assert (first.is_running(), second.is_running()) == (True, True)
    os.kill(pid_of(tmp_path), signal.SIGKILL)
    until("both see that it has ended", lambda: not first.is_running() and not second.is_running(), 2.0)


def test_data_survive_a_restart(new: New, tmp_path: Path) -> None:
    server = new(tmp_path)
    with client(server.start()) as redis:
        redis.set("key", "value")
    server.stop()
    with client(server.start()) as redis:
        assert redis.get("key") == b"value"


def test_data_survive_a_server_that_was_killed(new: New, tmp_path: Path) -> None:
    server = new(tmp_path)
    with client(server.start()) as redis:
        redis.set("key", "value")
    os.kill(pid_of(tmp_path), signal.SIGKILL)
    server.stop()
    with client(new(tmp_path).start()) as redis:
        assert redis.get("key") == b"value"


def test_a_note_that_was_left_is_not_believed_when_nobody_answers(new: New, tmp_path: Path) -> None:
    left = tmp_path / "zonegate-left"
    left.mkdir()
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "server.json").write_text(json.dumps({"socket": str(left / "valkey.sock"), "pid": 1}))
    url = new(data_dir).start()
    assert socket_of(url).parent != left
    assert not left.exists()


def test_what_is_not_ours_stays_whatever_a_note_says(new: New, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("keep")
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "server.json").write_text(json.dumps({"socket": str(precious / "file"), "pid": 1}))
    new(data_dir).start()
    assert (precious / "file").read_text() == "keep"


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"socket": 1}', b"\xff"])
def test_a_note_that_is_junk_is_no_note(new: New, tmp_path: Path, note: bytes) -> None:
    (tmp_path / "server.json").write_bytes(note)
    with client(new(tmp_path).start()) as redis:
        assert redis.ping()


def test_a_server_whose_parent_is_gone_is_adopted_and_ended(new: New, tmp_path: Path) -> None:
    """As on a system that does not end it with its parent."""
    orphan = new(tmp_path)
    url = orphan.start()
    assert orphan._lock is not None
    orphan._lock.close()
    heir = new(tmp_path)
    assert heir.start() == url
    assert heir.owned
    heir.stop()
    assert orphan._child is not None
    assert orphan._child.wait(10) == 0
    assert not (tmp_path / "server.json").exists()
    assert not socket_of(url).parent.exists()


START = """
import sys
from pathlib import Path
from gateway.store.embedded import EmbeddedServer
print(EmbeddedServer(Path(sys.argv[1])).start(), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_it_ends_within_2_seconds_when_its_parent_is_killed(new: New, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", START, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        pid = pid_of(tmp_path)
        assert alive(pid)
        parent.kill()
    until("the server ends with its parent", lambda: not alive(pid), 2.0)
    with client(new(tmp_path).start()) as redis:
        assert redis.ping()
    assert not socket_of(url).parent.exists()


def test_a_directory_for_temporary_files_whose_name_is_too_long_for_a_socket_is_not_used(
    new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    url = new(tmp_path / "data").start()
    assert len(os.fsencode(str(socket_of(url)))) <= 107
    assert list(long.iterdir()) == []


# What cannot be started, in one line with its remedy.


def refusal(data_dir: Path) -> str:
    server = EmbeddedServer(data_dir)
    with pytest.raises(EmbeddedError) as caught:
        server.start()
    assert not server.owned
    assert str(caught.value).splitlines() == [str(caught.value)]
    return str(caught.value)


def test_a_data_dir_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert refusal(tmp_path / "file") == f"store.data_dir: {tmp_path}/file: File exists"
    assert refusal(tmp_path / "file" / "data") == f"store.data_dir: {tmp_path}/file/data: Not a directory"


@pytest.mark.parametrize("name", ["lock", "server.log"])
def test_a_file_in_the_data_dir_that_cannot_be_written_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert refusal(tmp_path) == f"store.data_dir: {tmp_path / name}: Is a directory"


def test_data_that_the_server_cannot_read_are_refused_with_its_log_named(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("junk\n")
    said = refusal(tmp_path)
    assert str(tmp_path / "server.log") in said
    assert (tmp_path / "server.log").read_text() != ""
    assert not (tmp_path / "server.json").exists()


def test_a_data_dir_of_a_process_whose_server_does_not_answer_is_refused(
    new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.embedded._START_TIMEOUT", 0.3)
    server = new(tmp_path)
    server.start()
    note = (tmp_path / "server.json").read_text()
    (tmp_path / "server.json").write_text(json.dumps({"socket": str(tmp_path / "none"), "pid": 1}))
    assert "in use" in refusal(tmp_path)
    (tmp_path / "server.json").write_text(note)
