"""An upstream that means harm: a clean 502 or a reset, never a hang, never a cut body that looks whole."""

import itertools
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.data_plane import DataPlane, captured_by_thread, four_planes, home, unlike, verdicts
from support.http_cases.case import Case
from support.http_cases.words import BREAK, GETS_OK, LEAVE, RESET, ask, post, seen, seen_hello, talk
from support.raw_client import OPEN, Answer, ClientStep, Gets, NoAnswer, RawClient, refused
from support.raw_connection import Ended, Events, Flood, Pieces, Step
from support.raw_message import Body
from support.raw_upstream import Script, Seen

WHOLE = (Pieces.WHOLE,)
GETS_502 = refused(502, 10502)


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DataPlane, ...]]:
    with captured_by_thread(), home(tmp_path_factory.mktemp("home")) as where, four_planes(where) as planes:
        yield planes


# Early ends.


class Answered(msgspec.Struct, frozen=True):
    """An answer, and the request that it answers.

    `head`: its final head, which `interims` come before, and `data` behind; `body`: what `data` says. `ends`: it has no
    end but the connection's. `repeats`: the request may be sent again when nothing of an answer has come.
    """

    head: bytes
    data: bytes = b""
    body: bytes = b""
    interims: tuple[bytes, ...] = ()
    request: bytes = ask()
    sees: Seen = seen()
    method: str = "GET"
    ends: bool = False
    repeats: bool = True

    @property
    def whole(self) -> bytes:
        return b"".join((*self.interims, self.head, self.data))

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    def interims_in(self, count: int) -> tuple[int, ...]:
        """The interim answers that are whole in the first `count` bytes."""
        ends = itertools.accumulate(len(interim) for interim in self.interims)
        return tuple(103 for end in ends if end <= count)


_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNKS = b"5\r\nhello\r\n7;a=b\r\n, world\r\n0\r\n"
_HELLO = b"hello, world"
ANSWERS = {
    "with its length": Answered(_LENGTH, _HELLO, _HELLO),
    "in chunks": Answered(_CHUNKED, _CHUNKS + b"\r\n", _HELLO),
    "with trailers": Answered(_CHUNKED, _CHUNKS + b"X-Sum: 1\r\nY: 2\r\n\r\n", _HELLO),
    "behind early hints": Answered(_LENGTH, _HELLO, _HELLO, (_HINTS, _HINTS)),
    "to POST": Answered(_LENGTH, _HELLO, _HELLO, request=post("Content-Length: 5"), sees=seen_hello(), repeats=False),
    "to HEAD": Answered(_LENGTH, request=ask(method="HEAD"), sees=seen(method="HEAD"), method="HEAD"),
    "without a body": Answered(b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
    "without a length": Answered(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n", _HELLO, ends=True),
}


def cut(name: str, answered: Answered, count: int, end: Step) -> Case:
    """The first `count` bytes of an answer, and then the end."""
    data = answered.whole[:count]
    script: Script = (answered.sees, data, end)
    scripts = (script, script) if count == 0 and answered.repeats else (script,)
    behind_head = count - len(answered.whole) + len(answered.data)
    interims, method = answered.interims_in(count), answered.method
    client: tuple[ClientStep, ...]
    if behind_head < 0:
        client = (answered.request, Gets(502, code=10502, interims=interims, method=method), OPEN)
    elif answered.ends and end is LEAVE:  # this is how it ends, wherever it does
        client = (answered.request, Gets(200, body=answered.data[:behind_head]), OPEN)
    elif data == answered.whole and not answered.ends:
        gets = Gets(answered.status, body=answered.body, interims=interims, method=method)
        client = (answered.request, gets, OPEN)
    else:
        client = (answered.request, Gets(answered.status, interims=interims, whole=False), RESET)
    return Case(f"{name}, ended with {end.name} after {count} bytes", client, scripts)


def play_cuts(name: str, end: Step, planes: Sequence[DataPlane], deliveries: Sequence[Pieces]) -> None:
    answered = ANSWERS[name]
    for count in range(len(answered.whole) + 1):
        verdicts(cut(name, answered, count, end), planes, deliveries)


@pytest.mark.parametrize("end", [pytest.param(LEAVE, id="FIN"), pytest.param(BREAK, id="RST")])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_ends_early_at_any_byte_is_a_502_or_a_reset(
    name: str, end: Step, planes: tuple[DataPlane, ...]
) -> None:
    play_cuts(name, end, unlike(planes), WHOLE)


@pytest.mark.deep
@pytest.mark.parametrize("end", [pytest.param(LEAVE, id="FIN"), pytest.param(BREAK, id="RST")])
@pytest.mark.parametrize("name", ANSWERS)
def test_it_is_so_on_both_loops_both_ways_and_byte_by_byte(name: str, end: Step, planes: tuple[DataPlane, ...]) -> None:
    play_cuts(name, end, planes, (Pieces.WHOLE, Pieces.BYTES))


# What never ends.

ENDLESS = (
    talk("fields", (ask(), GETS_502, OPEN), (seen(), b"HTTP/1.1 200 OK\r\n", Flood(b"X: y\r\n" * 1000))),
    talk("a field", (ask(), GETS_502, OPEN), (seen(), b"HTTP/1.1 200 OK\r\nX: ", Flood(b"y" * 8192))),
    talk("a reason", (ask(), GETS_502, OPEN), (seen(), b"HTTP/1.1 200 ", Flood(b"O" * 8192))),
    talk("empty lines", (ask(), GETS_502, OPEN), (seen(), Flood(b"\r\n" * 4096))),
    talk("zeros", (ask(), GETS_502, OPEN), (seen(), Flood(bytes(8192)))),
    talk(
        "early hints",
        (ask(), Gets(502, code=10502, interims=None), OPEN),
        (seen(), Flood(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)),
    ),
    talk(
        "more than was promised",
        (ask(), GETS_OK, ask(), GETS_OK, OPEN),
        (seen(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Flood(b"ok" * 4096)),
        (seen(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ),
    talk(
        "a body behind a 204",
        (ask(), Gets(204, body=b""), OPEN),
        (seen(), b"HTTP/1.1 204 No Content\r\n\r\n", Flood(b"x" * 8192)),
    ),
    talk(
        "a chunk's size",
        (ask(), RESET),
        (seen(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Flood(b"0" * 8192)),
    ),
    talk(
        "a chunk's extension",
        (ask(), RESET),
        (seen(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5;", Flood(b"x" * 8192)),
    ),
    talk(
        "trailers",
        (ask(), RESET),
        (
            seen(),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            Flood(b"X: y\r\n" * 1000),
        ),
    ),
    talk(
        "a body in chunks, to a client that leaves",
        (ask(), Gets(200, reads_body=False), Body(b"x" * 100_000), LEAVE),
        (seen(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Flood(b"1000\r\n" + b"x" * 4096 + b"\r\n")),
    ),
    talk(
        "a body without a length, to a client that leaves",
        (ask(), Gets(200, reads_body=False), Body(b"x" * 100_000), LEAVE),
        (seen(), b"HTTP/1.1 200 OK\r\n\r\n", Flood(b"x" * 8192)),
    ),
)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ENDLESS])
def test_what_never_ends_is_ended(case: Case, planes: tuple[DataPlane, ...]) -> None:
    verdicts(case, planes, WHOLE)


# Anything.

ODD_BYTES = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\0", b":", b";", b" ", b"\t", b"0", b"1", b"-", b"+", b",", b"x", b"\xff"]
)


@st.composite
def spoilt_answers(draw: st.DrawFn) -> bytes:
    """A good answer with some bytes lost, put in or replaced."""
    answered = draw(st.sampled_from([each for each in ANSWERS.values() if each.method == "GET"]))
    data = answered.whole
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(ODD_BYTES | st.just(b"")) + data[at + draw(st.integers(0, 2)) :]
    return data or b"x"


async def through(plane: DataPlane, data: bytes) -> Answer | None:
    """What the client gets when the upstream says `data`, and closes. None: nothing whole, and a reset."""
    client = await RawClient.connect(plane.port)
    try:
        async with plane.upstream.playing(((seen(), data, LEAVE),), Pieces.WHOLE, Events()):
            await client.connection.send(ask())
            with suppress(NoAnswer):
                answer = await client.answer()
                if answer.message.whole:
                    return answer
        assert client.ended is Ended.RESET
        return None
    finally:
        client.close()


async def by_the_naive_reader(data: bytes) -> Answer | None:
    """What the tests' own reader makes of `data`; None where it finds no answer, or none that is whole."""
    near, far = socket.socketpair(type=socket.SOCK_STREAM)
    with near, far:
        far.sendall(data)
        far.shutdown(socket.SHUT_WR)
        with suppress(AssertionError, ValueError):
            answer = await RawClient(near, Pieces.WHOLE, strict=False).answer()
            return answer if answer.message.whole else None
    return None


@given(data=spoilt_answers())
def test_a_spoilt_answer_is_never_taken_for_a_whole_one_that_it_is_not(
    data: bytes, planes: tuple[DataPlane, ...]
) -> None:
    answer = planes[0].run(through(planes[0], data))
    if answer is None or b"10502" in answer.message.body:
        return
    naive = planes[0].run(by_the_naive_reader(data))
    assert naive is not None
    assert (answer.message.status, answer.message.body) == (naive.message.status, naive.message.body)
