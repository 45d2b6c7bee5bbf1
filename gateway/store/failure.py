"""What an error of redis-py means to us: one line for the log, and whether anything was written.

Told apart by its class or its code (the error's first word), never by more of the server's text, which may change,
and which may repeat what we sent.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - redis-py's own; Python's is an OSError
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from gateway.access.ports import StoreUnavailable

NOT_ANSWERED: Final = "the store did not answer"
_UNTRUSTED: Final = (
    "the store's certificate was not accepted: SSL_CERT_FILE names a file with its authority, and the certificate must "
    "be for the host in store.url"
)
NONSENSE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of an answer that is none of Redis's: a number where a list should be, and the like."""
_CODE: Final = re.compile(r"[A-Z]{2,20}")
_CODES: Final[dict[type[BaseException], str]] = {
    AskError: "ASK",
    AuthenticationError: "WRONGPASS",
    BusyLoadingError: "LOADING",
    ClusterCrossSlotError: "CROSSSLOT",
    ClusterDownError: "CLUSTERDOWN",
    MasterDownError: "MASTERDOWN",
    MovedError: "MOVED",
    NoPermissionError: "NOPERM",
    NoScriptError: "NOSCRIPT",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    TryAgainError: "TRYAGAIN",
}
"""redis-py before 8 cuts the code off where it has a class of its own."""
_MEANING: Final = {
    "ASK": "the cluster is moving our keys to another node (ASK)",
    "BUSY": "the store is busy with a script (BUSY)",
    "CLUSTERDOWN": "the cluster is down, or this node is cut off from it (CLUSTERDOWN)",
    "LOADING": "the store is loading its data (LOADING)",
    "MASTERDOWN": "the store is a replica without its primary (MASTERDOWN)",
    "MISCONF": "the store cannot write to its disk (MISCONF): see the server's log",
    "MOVED": "the cluster moved our keys to another node (MOVED)",
    "NOAUTH": "the store wants a password (NOAUTH): set it in store.url",
    "NOPERM": "the store's user may not run a command, or not on our keys or our channel (NOPERM)",
    "NOREPLICAS": "the store has too few replicas to take a change (NOREPLICAS)",
    "OOM": "the store is out of memory (OOM): raise the server's maxmemory",
    "READONLY": "the store is a read-only replica (READONLY)",
    "TRYAGAIN": "the cluster is moving our keys to another node (TRYAGAIN)",
    "WRONGPASS": "the store refused the user or the password in store.url (WRONGPASS)",
}
_DID_NOT_RUN: Final = frozenset(_MEANING.keys() | {"CROSSSLOT", "NOSCRIPT"})
"""A server says these before a script's first write or not at all. A right that is missed in the middle is an ERR
(ran)."""
_ELSEWHERE: Final = frozenset({"ASK", "CLUSTERDOWN", "MASTERDOWN", "MOVED", "NOREPLICAS", "READONLY"})
"""NOREPLICAS among them: after `SENTINEL FAILOVER` the old primary says for ten seconds that it is one, and only the
lack of replicas betrays it (ran)."""


class ClientGoneError(ConnectionError):
    """The client was given up before the command was sent."""


class CrowdedError(ConnectionError):
    """So many commands are under way that this one was not sent in time."""


def _said(error: BaseException | None) -> BaseException | None:
    """What the server said of our login, which redis-py wraps on a Unix socket (8.1), and nowhere else."""
    cause = error.__cause__ if type(error) is ConnectionError else None
    return cause if isinstance(cause, AuthenticationError) else error


def _code(error: BaseException | None) -> str:
    """The first word of what the server said; "" when it was not the server that said it."""
    error = _said(error)
    if not isinstance(error, (ResponseError, AuthenticationError, BusyLoadingError)):
        return ""
    # redis-py 8 tells it; its class says less: it has one for NOAUTH and WRONGPASS.
    code = getattr(error, "status_code", None) or _CODES.get(type(error)) or str(error).partition(" ")[0]
    if isinstance(error, AuthenticationError) and code != "NOAUTH":
        return "WRONGPASS"
    return code if _CODE.fullmatch(code) else "ERR"


def explain(error: BaseException) -> str:
    """What `error` says of the store, in one line without anything that we sent."""
    if isinstance(error, CrowdedError):
        return "the store did not keep up: too many commands are under way"
    if isinstance(error, NONSENSE):
        return "what the store answered cannot be read: is it a Redis or Valkey, and a store of zonegate's?"
    code = _code(error)
    if code:
        return _MEANING.get(code, f"the store refused a command ({code})")
    return _UNTRUSTED if _is_untrusted(error) else NOT_ANSWERED


def _is_untrusted(error: BaseException) -> bool:
    """Whether it comes of a certificate that was not accepted; redis-py has no class for that."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in (error.__cause__, error.__context__))


def is_elsewhere(error: BaseException | None) -> bool:
    """Whether `error`, or what it was made from, says: this server is not the primary, or cannot be reached.

    A time-out does not say so: the server may be slow.
    """
    if isinstance(error, StoreUnavailable):
        error = error.__cause__
    error = _said(error)
    if isinstance(error, OSError):
        return not isinstance(error, TimeoutError)
    # By its very class: that of a wrong password and of a server that loads its data is derived from it.
    return type(error) in (ConnectionError, ClientGoneError) or (error is not None and _code(error) in _ELSEWHERE)


def is_cancelled() -> bool:
    """Whether this task should end, even if it was not told.

    redis-py sends by `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes when it is done.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def meaning(error: BaseException, *, changes: bool = False) -> StoreUnavailable:
    """What `error`, redis-py's or of an answer that cannot be read, means to us: see `mapped`."""
    nothing_written = isinstance(error, (ClientGoneError, CrowdedError)) or _code(error) in _DID_NOT_RUN
    found = StoreUnavailable(explain(error), outcome_unknown=changes and not nothing_written)
    found.__cause__ = error
    return found


@asynccontextmanager
async def mapped(*, changes: bool = False) -> AsyncIterator[None]:
    """No error of redis-py gets out: it is a StoreUnavailable, caused by it.

    With `changes`, `outcome_unknown` is true unless the server refused the command before it ran, or was never sent
    it: any other error may hide a change that was made, a script's own among them.
    """
    try:
        yield
    except (RedisError, OSError, TimeoutError, *NONSENSE) as error:
        raise meaning(error, changes=changes) from error
