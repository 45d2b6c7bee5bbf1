import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from support.servers import HOST, scripted

from gateway.access.ports import StoreUnavailable
from gateway.store.failure import ClientGoneError, CrowdedError, explain, is_elsewhere, mapped

Fail = Callable[[bytes | None], Awaitable[Exception]]


@pytest.fixture
async def fail() -> AsyncIterator[Fail]:
    """`fail(reply)`: redis-py's error when a server says `reply` to a command (None: breaks off, b"": is silent)."""
    said: bytes | None = b""
    async with scripted(lambda _: said) as server:
        client = Redis(
            host=HOST, port=server.port, protocol=2, socket_timeout=0.2, retry=Retry(NoBackoff(), 0), retry_on_error=[]
        )

        async def fail(reply: bytes | None) -> Exception:
            nonlocal said
            said = reply
            with pytest.raises(exceptions.RedisError) as caught:
                await client.get("key")
            return caught.value

        yield fail
        await client.aclose()


async def unavailable(error: BaseException, *, changes: bool) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        async with mapped(changes=changes):
            raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(
    ("said", "text", "written", "elsewhere"),
    [
        pytest.param(
            "OOM command not allowed when used memory > 'maxmemory'.",
            "the store is out of memory (OOM): raise the server's maxmemory",
            False,
            False,
            id="out of memory",
        ),
        pytest.param(
            "MISCONF Errors writing to the AOF file: No space left on device",
            "the store cannot write to its disk (MISCONF): see the server's log",
            False,
            False,
            id="a full disk",
        ),
        pytest.param(
            "READONLY You can't write against a read only replica.",
            "the store is a read-only replica (READONLY)",
            False,
            True,
            id="a replica",
        ),
        pytest.param(
            "NOREPLICAS Not enough good replicas to write.",
            "the store has too few replicas to take a change (NOREPLICAS)",
            False,
            True,
            id="a primary that was cut off",
        ),
        pytest.param(
            "LOADING Valkey is loading the dataset in memory",
            "the store is loading its data (LOADING)",
            False,
            False,
            id="a server that starts",
        ),
        pytest.param(
            "BUSY Valkey is busy running a script.", "the store is busy with a script (BUSY)", False, False, id="busy"
        ),
        pytest.param(
            "NOAUTH Authentication required.",
            "the store wants a password (NOAUTH): set it in store.url",
            False,
            False,
            id="no password",
        ),
        pytest.param(
            "WRONGPASS invalid username-password pair or user is disabled.",
            "the store refused the user or the password in store.url (WRONGPASS)",
            False,
            False,
            id="a wrong password",
        ),
        pytest.param(
            "ERR invalid password",
            "the store refused the user or the password in store.url (WRONGPASS)",
            False,
            False,
            id="a wrong password, said in the old way",
        ),
        pytest.param(
            "NOPERM User hush has no permissions to run the 'evalsha' command",
            "the store's user may not run a command, or not on our keys or our channel (NOPERM)",
            False,
            False,
            id="no permission",
        ),
        pytest.param(
            "ERR ACL failure in script: No permissions to access a channel script: x, on @user_script:1.",
            "the store refused a command (ERR)",
            True,
            False,
            id="no permission in the middle of a script",
        ),
        pytest.param(
            "MOVED 8273 127.0.0.1:7001", "the cluster moved our keys to another node (MOVED)", False, True, id="moved"
        ),
        pytest.param(
            "ASK 8273 127.0.0.1:7001",
            "the cluster is moving our keys to another node (ASK)",
            False,
            True,
            id="moving, and not here",
        ),
        pytest.param(
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "the cluster is moving our keys to another node (TRYAGAIN)",
            False,
            False,
            id="moving, and partly here",
        ),
        pytest.param(
            "CLUSTERDOWN The cluster is down",
            "the cluster is down, or this node is cut off from it (CLUSTERDOWN)",
            False,
            True,
            id="a cluster that is down",
        ),
        pytest.param(
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "the store is a replica without its primary (MASTERDOWN)",
            False,
            True,
            id="a replica without a primary",
        ),
        pytest.param(
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "the store refused a command (WRONGTYPE)",
            True,
            False,
            id="a key that is not ours",
        ),
        pytest.param(
            "NOSCRIPT No matching script.", "the store refused a command (NOSCRIPT)", False, False, id="no script"
        ),
        pytest.param(
            "CROSSSLOT Keys in request don't hash to the same slot",
            "the store refused a command (CROSSSLOT)",
            False,
            False,
            id="keys of two nodes",
        ),
        pytest.param(
            "ERR unknown command 'GET', with args beginning with: 'hush'",
            "the store refused a command (ERR)",
            True,
            False,
            id="a text that repeats what was sent",
        ),
        pytest.param("hush", "the store refused a command (ERR)", True, False, id="no code at all"),
    ],
)
async def test_what_the_server_says_is_told_by_its_code_alone(
    fail: Fail, said: str, text: str, *, written: bool, elsewhere: bool
) -> None:
    error = await fail(f"-{said}\r\n".encode())
    found = await unavailable(error, changes=True)
    assert str(found) == text
    assert found.outcome_unknown is written
    assert is_elsewhere(error) is is_elsewhere(found) is elsewhere
    assert not (await unavailable(error, changes=False)).outcome_unknown


async def test_a_server_that_breaks_off_is_elsewhere_and_one_that_is_silent_is_not(fail: Fail) -> None:
    for reply, elsewhere in ((None, True), (b"", False), (b"*junk\r\n", False)):
        error = await fail(reply)
        found = await unavailable(error, changes=True)
        assert str(found) == "the store did not answer"
        assert found.outcome_unknown
        assert is_elsewhere(found) is elsewhere


@pytest.mark.parametrize(
    ("error", "elsewhere"),
    [
        pytest.param(exceptions.ConnectionError("Error 111 connecting to hush"), True, id="refused"),
        pytest.param(ConnectionResetError(104, "reset"), True, id="reset"),
        pytest.param(OSError(113, "No route to host"), True, id="no route"),
        pytest.param(ssl.SSLError("certificate verify failed"), True, id="another's certificate"),
        pytest.param(exceptions.TimeoutError("Timeout reading from hush"), False, id="redis-py's time-out"),
        pytest.param(TimeoutError(), False, id="a time-out"),
        pytest.param(TimeoutError(110, "Connection timed out"), False, id="the kernel's time-out"),
        pytest.param(exceptions.MaxConnectionsError("Too many connections"), False, id="our own limit"),
        pytest.param(exceptions.InvalidResponse("Protocol Error: hush"), False, id="junk"),
    ],
)
async def test_an_error_of_the_connection_may_hide_a_change_and_shows_nothing(
    error: Exception, *, elsewhere: bool
) -> None:
    found = await unavailable(error, changes=True)
    assert str(found) == "the store did not answer"
    assert found.outcome_unknown
    assert is_elsewhere(error) is is_elsewhere(found) is elsewhere


async def test_a_command_that_was_never_sent_has_changed_nothing() -> None:
    found = await unavailable(ClientGoneError("given up"), changes=True)
    assert not found.outcome_unknown
    assert is_elsewhere(found)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(None, id="no error"),
        pytest.param(StoreUnavailable("a document cannot be read"), id="a document that cannot be read"),
        pytest.param(ValueError("MOVED"), id="an error of our own"),
        pytest.param(asyncio.CancelledError(), id="a cancelled task"),
    ],
)
def test_what_no_server_said_is_not_elsewhere(error: BaseException | None) -> None:
    assert not is_elsewhere(error)


def test_a_login_that_was_refused_on_a_unix_socket_is_told_as_on_a_port() -> None:
    """redis-py wraps what the server said there, as if it were away."""
    error = exceptions.ConnectionError("Error while connecting")
    error.__cause__ = exceptions.AuthenticationError("WRONGPASS invalid username-password pair")
    assert explain(error) == "the store refused the user or the password in store.url (WRONGPASS)"
    assert not is_elsewhere(error)


def test_a_certificate_that_was_not_accepted_is_told() -> None:
    error = exceptions.ConnectionError("Error 1 connecting")
    error.__cause__ = ssl.SSLCertVerificationError("unable to get local issuer certificate")
    assert explain(error).startswith("the store's certificate was not accepted: SSL_CERT_FILE ")


@pytest.mark.parametrize("error", [IndexError("x"), TypeError("x"), ValueError("x"), AttributeError("x")])
async def test_an_answer_that_is_none_of_redis_s_is_an_outage(error: Exception) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be read: is it a Redis") as caught:
        async with mapped(changes=True):
            raise error
    assert caught.value.outcome_unknown


async def test_a_change_that_waited_in_vain_for_a_connection_was_not_made() -> None:
    with pytest.raises(StoreUnavailable, match="too many commands are under way") as caught:
        async with mapped(changes=True):
            raise CrowdedError("no connection was free in time")
    assert not caught.value.outcome_unknown
    assert not is_elsewhere(caught.value)


@pytest.mark.parametrize(
    "error",
    [pytest.param(RuntimeError("x"), id="a bug"), pytest.param(asyncio.CancelledError(), id="a cancelled task")],
)
async def test_what_is_no_failure_of_the_store_passes_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with mapped(changes=True):
            raise error
    assert caught.value is error


@given(st.text(), st.sampled_from([exceptions.ResponseError, exceptions.ConnectionError, exceptions.RedisError]))
def test_whatever_a_text_says_beyond_its_code_is_not_repeated(text: str, kind: type[Exception]) -> None:
    assert "hush" not in explain(kind(f"{text} hush"))
    assert len(explain(kind(f"{text} hush")).splitlines()) == 1
