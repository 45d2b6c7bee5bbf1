"""Peers that misbehave, and ends: a running gateway between a raw client and a raw upstream."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from support.processes import ZONEGATE, Gateway, RawUpstream, alive, running, until
from support.records import ZONE_A, group_id, zone

RECORDS = f"/client/v4/zones/{ZONE_A}/dns_records"
POLICIES = [{"effect": "allow", "permission_groups": [{"id": group_id("DNS Write")}], "resources": {zone(ZONE_A): "*"}}]


def read_head(sock: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = sock.recv(65536)
        if not piece:
            break
        received += piece
    return received


def read_all(sock: socket.socket) -> bytes:
    received = b""
    while piece := sock.recv(65536):
        received += piece
    return received


Script = Callable[[socket.socket], None]
Shared = tuple[Gateway, str, RawUpstream]


@contextmanager
def between(directory: Path, script: Script, extra: str = "") -> Iterator[Shared]:
    """A gateway in front of `script`, and the secret of a token that may edit zone A's records."""
    upstream = RawUpstream(script)
    gateway = Gateway(directory, upstream.url, extra)
    try:
        gateway.prepare()
        gateway.start()
        yield gateway, gateway.create(name="dns", policies=POLICIES)["value"], upstream
    finally:
        gateway.stop()
        upstream.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """One for the tests that leave it as it was."""
    with between(tmp_path_factory.mktemp("between"), read_head) as found:
        yield found


def ask(gateway: Gateway, secret: str, line: str, fields: str = "", body: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    head = f"{line}\r\nHost: gateway\r\nAuthorization: Bearer {secret}\r\n{fields}\r\n"
    sock.sendall(head.encode() + body)
    return sock


def test_an_answer_before_the_end_of_the_upload_reaches_the_client_whole(shared: Shared) -> None:
    def refuse(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")

    gateway, secret, upstream = shared
    upstream.script = refuse
    with ask(gateway, secret, f"POST {RECORDS} HTTP/1.1", "Content-Length: 1000\r\n", b"first") as sock:
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"\r\n\r\nlarge")
    assert "Traceback" not in gateway.log()


def test_a_broken_chunk_aborts_the_upload_and_is_a_400(shared: Shared) -> None:
    seen: list[bytes] = []
    begun = Event()

    def record(sock: socket.socket) -> None:
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(65536):
                received += piece
                if b"hello" in received:
                    begun.set()
        seen.append(received)

    gateway, secret, upstream = shared
    upstream.script = record
    with ask(gateway, secret, f"POST {RECORDS} HTTP/1.1", "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n") as sock:
        assert begun.wait(20)
        sock.sendall(b"zz\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
    until("the upstream's connection is gone", lambda: seen)
    assert not seen[0].endswith(b"0\r\n\r\n")


def test_an_answer_that_breaks_off_is_a_reset(shared: Shared) -> None:
    def break_off(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")

    gateway, secret, upstream = shared
    upstream.script = break_off
    for version in ("1.0", "1.1"):
        with ask(gateway, secret, f"GET {RECORDS} HTTP/{version}") as sock, pytest.raises(ConnectionResetError):
            read_all(sock)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"nonsense\r\n\r\n", id="nonsense"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", id="a 101"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n", id="a control byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", id="a coding that is not chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", id="200 fields"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70000 + b"\r\n\r\n", id="a head over 64 KiB"),
    ],
)
def test_an_answer_that_is_none_is_a_502(answer: bytes, shared: Shared) -> None:
    def say(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(answer)

    gateway, secret, upstream = shared
    upstream.script = say
    found = gateway.call("GET", RECORDS.removeprefix("/client/v4"), secret)
    assert (found.status_code, found.json()["errors"][0]["code"]) == (502, 10502)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"H", id="a byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-", id="half a head"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n", id="an interim answer"),
    ],
)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_request_whose_answer_had_begun_is_not_repeated(begun: bytes, end: str, shared: Shared) -> None:
    seen: list[bytes] = []

    def break_off(sock: socket.socket) -> None:
        while head := read_head(sock):
            seen.append(head)
            if len(seen) == 1:
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")  # the connection is a used one then
                continue
            sock.sendall(begun)
            if end == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return

    gateway, secret, upstream = shared
    upstream.script = break_off
    path = RECORDS.removeprefix("/client/v4")
    assert gateway.call("GET", path, secret).status_code == 200
    assert gateway.call("DELETE", f"{path}/{'e' * 32}", secret).status_code == 502
    assert len(seen) == 2


def test_an_upstream_that_is_silent_is_a_504(tmp_path: Path) -> None:
    with between(tmp_path, lambda sock: (read_all(sock), None)[1], "[limits]\nresponse_timeout = 0.3\n") as (
        gateway,
        secret,
        _,
    ):
        found = gateway.call("GET", RECORDS.removeprefix("/client/v4"), secret)
        assert (found.status_code, found.json()["errors"][0]["code"]) == (504, 10504)


def test_an_upload_under_way_is_finished_before_the_end(tmp_path: Path) -> None:
    begun = Event()

    def accept(sock: socket.socket) -> None:
        received = read_head(sock)
        begun.set()
        while not received.endswith(b"0123456789"):
            received += sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    with between(tmp_path, accept) as (gateway, secret, _):
        assert gateway.process is not None
        with ask(gateway, secret, f"POST {RECORDS} HTTP/1.1", "Content-Length: 10\r\n", b"01234") as sock:
            assert begun.wait(20)
            gateway.process.send_signal(signal.SIGTERM)
            until("it stops", lambda: '"stopping"' in gateway.log())
            sock.sendall(b"56789")
            answer = read_all(sock)
        assert answer.endswith(b"\r\n\r\ndone")
        assert b"Connection: close" in answer
        assert gateway.process.wait(20) == 0


def test_an_upload_that_outlives_the_drain_is_told_that_the_gateway_ends(tmp_path: Path) -> None:
    begun = Event()

    def accept(sock: socket.socket) -> None:
        read_head(sock)
        begun.set()
        read_all(sock)

    with between(tmp_path, accept, "[limits]\ndrain_timeout = 0.3\n") as (gateway, secret, _):
        assert gateway.process is not None
        with ask(gateway, secret, f"POST {RECORDS} HTTP/1.1", "Content-Length: 10\r\n", b"01234") as sock:
            assert begun.wait(20)
            gateway.process.send_signal(signal.SIGTERM)
            answer = read_all(sock)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"shutting down" in answer
        assert gateway.process.wait(20) == 0


HEADS = [
    pytest.param([b"X-Field: y\r\n"] * 200 + [b"\r\n"], id="200 fields"),
    pytest.param([b"X-Field: " + b"y" * 60_000 + b"\r\n"] * 3, id="180 KB that do not end"),
]


@pytest.mark.parametrize("lines", HEADS)
@pytest.mark.parametrize("size", [7, 70_000])
def test_a_head_beyond_the_limits_is_a_431_in_whatever_pieces_it_comes(
    lines: list[bytes], size: int, gateway: Gateway
) -> None:
    head = b"GET / HTTP/1.1\r\nHost: gateway\r\n" + b"".join(lines)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = b""
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(head), size):
                sock.sendall(head[start : start + size])
            answer = read_all(sock)
        assert not answer or answer.startswith(b"HTTP/1.1 431 ")
    until("it is refused", lambda: '"reason":"head_too_large"' in gateway.log())


def test_a_client_that_does_not_read_is_let_go(tmp_path: Path) -> None:
    def flood(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + bytes(50_000_000))

    with (
        between(tmp_path, flood, "[limits]\nbody_idle_timeout = 0.3\n") as (gateway, secret, _),
        ask(gateway, secret, f"GET {RECORDS} HTTP/1.1") as sock,
    ):
        until("it is let go", lambda: f'"path":"{RECORDS}"' in gateway.log())
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_many_changes_at_once_are_made_one_after_the_other(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, _):
        made = gateway.create(name="busy", policies=POLICIES)
        path = f"/user/tokens/{made['id']}"
        with ThreadPoolExecutor(10) as pool:
            answers = list(
                pool.map(lambda n: gateway.call("PUT", path, json={"name": f"{n}", "policies": POLICIES}), range(40))
            )
        assert {answer.status_code for answer in answers} == {200}


def test_the_gateway_ends_with_its_embedded_server(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, _):
        assert gateway.process is not None
        os.kill(gateway.store_pid(), signal.SIGKILL)
        assert gateway.process.wait(20) == 1
        assert "embedded server has ended" in gateway.log()
        gateway.start()
        assert gateway.call("GET", "/user/tokens/verify").status_code == 200


def test_a_stopped_embedded_server_goes_with_its_parent_too(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, _):
        store = gateway.store_pid()
        os.kill(store, signal.SIGSTOP)
        gateway.kill()
        until("the embedded server is gone", lambda: not alive(store), deadline=2)
        gateway.start()
        assert gateway.call("GET", "/user/tokens/verify").status_code == 200


def test_a_store_that_hangs_is_a_503_and_its_return_needs_no_restart(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, _):
        store = gateway.store_pid()
        os.kill(store, signal.SIGSTOP)
        try:
            answer = gateway.call("GET", "/user/tokens/verify")
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, 10500)
        finally:
            os.kill(store, signal.SIGCONT)
        until("it is back", lambda: gateway.call("GET", "/user/tokens/verify").status_code == 200)


def test_a_note_of_another_server_makes_nothing_vanish(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, "http://127.0.0.1:9")
    store = tmp_path / "store"
    store.mkdir()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("keep me")
    for note in ("x", f"{precious}/valkey.sock", f"{tmp_path}/store/lock", "/"):
        (store / "server.json").write_text(json.dumps({"socket": note, "pid": 1}))
        done = gateway.command("init", "--config", str(gateway.config), cwd=precious)
        assert "Traceback" not in done.stderr
        assert (precious / "file").read_text() == "keep me"
        assert store.is_dir()


def test_standard_output_that_is_closed_is_one_line(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, "http://127.0.0.1:9")
    for redirection in (">&-", ">/dev/full"):
        done = gateway_shell(gateway, f"{ZONEGATE} --version {redirection}")
        assert done.startswith("zonegate: standard output"), done
        assert len(done.splitlines()) == 1


def gateway_shell(gateway: Gateway, command: str) -> str:
    done = subprocess.run(["bash", "-c", command], env=gateway.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr
