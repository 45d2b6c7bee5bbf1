import asyncio
from pathlib import Path

import msgspec
import pytest
from unit.telemetry.captured import captured
from unit.telemetry.numbers import API, ROUTE

from gateway.proxy.pool import PoolState
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.board import Board
from gateway.telemetry.latency import Latencies
from gateway.telemetry.publisher import SILENCE, Publisher
from gateway.telemetry.snapshot import StoreState, request_key

KEY = request_key(API, ROUTE, "", 200)
POOL = PoolState(open=1, idle=1, waiting=0, targets=1, ejected=0)


class Memory(msgspec.Struct):
    frozen: bool = False
    state: StoreState = "trusted"
    lag: float = 0.001


class Worker:
    """A publisher, and what it asks. `now`: its clock, seconds."""

    def __init__(self, board: Board | None) -> None:
        self.now = 100.0
        self.logs = [AccessLog(enabled=False), AccessLog(enabled=False)]
        self.hits = 0
        self.publisher = Publisher(
            board,
            logs=self.logs,
            latencies=Latencies(),
            totals=lambda: {"zonegate_cache_hits": self.hits},
            memory=Memory(),
            connections=lambda: {"listen": 3},
            pools=lambda: {API: POOL},
            clock=lambda: self.now,
        )

    def answer(self, times: int, log: int = 0) -> None:
        self.logs[log].counts[API, ROUTE, "", 200] += times

    @property
    def requests(self) -> int:
        return self.publisher.read()[1].requests.get(KEY, 0)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def test_of_all_listeners_requests_are_counted_together(board: Board) -> None:
    worker = Worker(board)
    worker.answer(2)
    worker.answer(3, log=1)
    worker.hits = 7
    found = worker.publisher.snapshot()
    assert (found.requests, found.totals) == ({KEY: 5}, {"zonegate_cache_hits": 7})
    assert found.now is not None
    assert (found.now.store, found.now.lag, found.now.connections, found.now.pools) == (
        "trusted",
        0.001,
        {"listen": 3},
        {API: POOL},
    )


def test_each_worker_tells_of_all_and_of_itself_as_it_is_now(board: Board) -> None:
    one, other = Worker(board), Worker(board)
    other.answer(5)
    other.publisher.put()
    one.answer(2)
    assert one.requests == 7
    one.answer(1)
    assert one.requests == 8
    assert len(one.publisher.read()[0]) == 2


def test_a_worker_that_has_long_said_nothing_is_not_there_and_what_it_counted_is(board: Board) -> None:
    one, silent = Worker(board), Worker(board)
    silent.answer(5)
    silent.publisher.put()
    one.now = silent.now + SILENCE
    assert (len(one.publisher.read()[0]), one.requests) == (1, 5)


def test_without_a_board_a_worker_tells_of_itself() -> None:
    worker = Worker(None)
    worker.answer(2)
    worker.publisher.put()
    assert (len(worker.publisher.read()[0]), worker.requests) == (1, 2)


def test_a_directory_that_is_gone_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    worker = Worker(Board(tmp_path / "gone"))
    worker.answer(2)
    with captured() as logs:
        worker.publisher.put()
        worker.publisher.put()
        assert worker.requests == 2
    assert [line["event"] for line in logs] == ["metrics not shared with the other workers"]
    (tmp_path / "gone").mkdir()
    worker.publisher.put()
    (tmp_path / "gone" / next((tmp_path / "gone").iterdir()).name).unlink()
    (tmp_path / "gone").rmdir()
    with captured() as logs:
        worker.publisher.put()
    assert len(logs) == 1  # it was there meanwhile


def test_where_nothing_can_be_written_any_more_no_counter_goes_back(tmp_path: Path) -> None:
    one, other = Worker(Board(tmp_path)), Worker(Board(tmp_path))
    one.answer(2)
    other.answer(5)
    one.publisher.put()
    (ours,) = tmp_path.iterdir()
    other.publisher.put()
    assert one.requests == 7
    ours.with_suffix(".new").mkdir()  # in the way of the next write
    one.answer(1)
    with captured() as logs:
        assert one.requests == 8
    assert [line["event"] for line in logs] == ["metrics not shared with the other workers"]


async def test_it_is_put_up_again_and_again(board: Board) -> None:
    worker = Worker(board)
    running = asyncio.ensure_future(worker.publisher.run(interval=0))
    await asyncio.sleep(0)
    worker.answer(2)
    async with asyncio.timeout(10):
        while not any(each.requests for each in board.read()[0]):  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
