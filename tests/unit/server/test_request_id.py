import re
import subprocess
import sys

import pytest
from support.records import secret_of

from gateway.server.request_id import request_id


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"12345678", id="8 characters"),
        pytest.param(b"x" * 128, id="128 characters"),
        pytest.param(b"req_01.AB-cd", id="every kind of character"),
    ],
)
def test_one_plain_id_is_kept(sent: bytes) -> None:
    assert request_id([sent]) == sent


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([], id="none"),
        pytest.param([b""], id="an empty one"),
        pytest.param([b"1234567"], id="7 characters"),
        pytest.param([b"x" * 129], id="129 characters"),
        pytest.param([b"with blank"], id="a blank"),
        pytest.param([b"12345678\n"], id="a line end"),
        pytest.param([b"12345678\x1b[2J"], id="a terminal's command"),
        pytest.param([b"12345678/"], id="a slash"),
        pytest.param(["12345678ä".encode()], id="not ASCII"),
        pytest.param([b"12345678", b"12345678"], id="two"),
    ],
)
def test_anything_else_gives_a_new_one_of_32_hex_digits(sent: list[bytes]) -> None:
    assert re.fullmatch(rb"[0-9a-f]{32}", request_id(sent))


def test_no_two_new_ones_are_alike() -> None:
    assert len({request_id([]) for _ in range(100)}) == 100


def test_workers_of_one_process_make_ids_of_their_own() -> None:
    program = """
import os
from gateway.server.request_id import request_id

request_id([])
for _ in range(2):
    if os.fork() == 0:
        os.write(1, request_id([]) + b"\\n")
        os._exit(0)
    os.wait()
os.write(1, request_id([]) + b"\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert len(set(done.stdout.splitlines())) == 3


def test_an_id_that_looks_like_a_secret_is_not_kept() -> None:
    secret = secret_of().reveal().encode()
    for sent in (secret, secret[:50], b"trace-" + secret):
        assert b"zgt_" not in request_id([sent])
