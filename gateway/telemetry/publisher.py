"""One worker's numbers: gathered from where they are counted, and put up for all workers."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from gateway.proxy.pool import PoolState
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.board import Board, worker_name
from gateway.telemetry.latency import Latencies
from gateway.telemetry.snapshot import Now, Snapshot, StoreState, request_key, sum_of

log = structlog.get_logger(__name__)

INTERVAL: Final = 0.5
"""Seconds between two times."""
SILENCE: Final = 10.0
"""Seconds without one, after which a worker is not counted: it is stuck, or was made to end."""


class Memory(Protocol):
    """What a worker remembers of the store (`TokenLookup`)."""

    frozen: bool

    @property
    def state(self) -> StoreState:
        """Whether it may be believed."""

    @property
    def lag(self) -> float:
        """Seconds by which it may be behind."""


class Publisher:
    """Of one worker."""

    def __init__(  # noqa: PLR0913 - all that is counted
        self,
        board: Board | None,
        *,
        logs: Sequence[AccessLog],
        latencies: Latencies,
        totals: Callable[[], Mapping[str, int]],
        memory: Memory,
        connections: Callable[[], Mapping[str, int]],
        pools: Callable[[], Mapping[str, PoolState]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`board` None: there is no other worker that could be told of. `totals`: by the name of the metric;
        `connections`: of clients, by listener; `pools`: by API; `clock`: monotonic seconds, those of all processes.
        """
        self._board = board
        self._name = worker_name(os.getpid())
        self._logs = logs
        self._latencies = latencies
        self._totals = totals
        self._memory = memory
        self._connections = connections
        self._pools = pools
        self._clock = clock
        self._failing = False

    def snapshot(self) -> Snapshot:
        """What this worker has counted, and has now."""
        requests: dict[str, int] = {}
        for each in self._logs:
            for what, times in each.counts.items():
                key = request_key(*what)
                requests[key] = requests.get(key, 0) + times
        return Snapshot(
            requests,
            self._latencies.gateway,
            self._latencies.upstream,
            dict(self._totals()),
            Now(
                at=self._clock(),
                store=self._memory.state,
                lag=self._memory.lag,
                frozen=self._memory.frozen,
                connections=self._connections(),
                pools=self._pools(),
            ),
        )

    async def run(self, interval: float = INTERVAL) -> None:
        """Put it up every `interval` seconds, until cancelled."""
        while True:
            self.put()
            await asyncio.sleep(interval)

    def put(self) -> None:
        """It is up, if there is a board. Never raises: a directory that is full or gone is said once."""
        if self._board is not None:
            self._put(self._board, self.snapshot())

    def _put(self, board: Board, snapshot: Snapshot) -> None:
        try:
            board.put(self._name, snapshot)
        except OSError as error:
            self._failed(error)
        else:
            self._failing = False

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            log.warning("metrics not shared with the other workers", error=error.strerror)

    def read(self) -> tuple[list[Snapshot], Snapshot]:
        """The workers that are there, this one as it is now; and the sum of all, those that have ended among them.

        Where nothing can be written any more (the disk is full), the others count as they were last heard of: a counter
        that goes back would be taken for one that began anew.
        """
        for each in self._logs:
            each.flush()
        ours = self.snapshot()
        if self._board is None:
            return [ours], sum_of([ours])
        self._put(self._board, ours)
        try:
            told, ended = self._board.read(without=self._name)
        except OSError as error:
            self._failed(error)
            return [ours], sum_of([ours])
        told.append(ours)
        now = self._clock()
        living = [each for each in told if each.now is not None and now - each.now.at < SILENCE]
        return living, sum_of([ended, *told])
