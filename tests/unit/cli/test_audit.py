import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.fake_primary import FakePrimary
from support.processes import ZONEGATE, free_port
from support.records import GROUPS
from support.store_contract import numbered
from typer.testing import CliRunner, Result

from gateway.admin.audit import show_audit
from gateway.cli.answer import AuditPage, ShownEntry
from gateway.cli.audit import change_in_words, entry_lines, moment_since, tell
from gateway.cli.client import TokenApiClient, open_api
from gateway.cli.main import app
from gateway.reason import Answer, Deny, refuse
from gateway.store import keys
from gateway.store.audit import AuditTrail
from gateway.store.redis_store import AuditLimits, RedisStore
from gateway.tokens.secret import Sensitive

NOW = 1_800_000_000.7
ME, OTHER = numbered(1), numbered(2)
SECRET = "zgt_secret"


class Api:
    """The audit of a token API over a store in this process."""

    def __init__(self) -> None:
        self.primary = FakePrimary()
        store = RedisStore(self.primary, peppers=(), audit=AuditLimits(10**6, 10**9))  # type: ignore[arg-type]
        self._trail = AuditTrail(store, most_looked_at=1500)
        self.asked: list[str] = []
        self.changed = asyncio.Condition()
        self.url = ""

    async def add(self, number: int, token: str = ME, **fields: str) -> None:
        """The entry of that number: it is its reason, and the second in which it is."""
        redis: Any = (await self.primary.clients()).writer
        entry = {"action": "update", "token": token, "reason": str(number)} | fields
        stream = keys.DENIED_AUDIT if entry["action"] == "denied" else keys.AUDIT
        await redis.xadd(stream, entry, id=f"{number}000-0")

    async def handle(self, request: web.Request) -> web.Response:
        assert request.path == "/v4/zonegate/audit"
        answer: Answer | Deny = await show_audit(self._trail, GROUPS, request.query_string.encode())
        if isinstance(answer, Deny):
            answer = refuse(answer)
        async with self.changed:
            self.asked.append(request.query_string)
            self.changed.notify_all()
        return web.Response(status=answer.status, body=answer.body)

    async def until_asked(self, times: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.asked) >= times)


@pytest.fixture
async def api(aiohttp_server: Callable[..., Awaitable[TestServer]]) -> AsyncIterator[Api]:
    api = Api()
    site = web.Application()
    site.router.add_route("GET", "/{path:.*}", api.handle)
    api.url = str((await aiohttp_server(site)).make_url("/v4"))
    yield api
    await api.primary.close()


@pytest.fixture
async def client(api: Api) -> AsyncIterator[TokenApiClient]:
    async with open_api(api.url, Sensitive(SECRET), deadline=10) as found:
        yield found


class Shown:
    """What was shown: the entries' numbers."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.changed = asyncio.Event()

    def __call__(self, page: AuditPage) -> None:
        assert len(page.raw) == len(page.entries)
        self.numbers += [int(entry.metadata.reason or 0) for entry in page.entries]
        if page.entries:
            self.changed.set()


# What is asked for.


async def test_all_entries_are_shown_oldest_first_page_after_page(api: Api, client: TokenApiClient) -> None:
    for number in range(1, 2106):
        await api.add(number)
    shown = Shown()
    await tell(client, {}, shown, latest=None, follow=False)
    assert shown.numbers == list(range(1, 2106))


async def test_entries_that_lie_far_apart_are_all_found(api: Api, client: TokenApiClient) -> None:
    """One call of the API looks at so many entries; an empty page with a cursor is not the end."""
    for number in range(1, 4001):
        await api.add(number, ME if number in (1, 3999) else OTHER)
    for latest in (None, 100):
        shown = Shown()
        await tell(client, {"token": ME}, shown, latest=latest, follow=False)
        assert shown.numbers == [1, 3999]


@pytest.mark.parametrize(
    ("entries", "latest", "numbers", "hint"),
    [
        pytest.param(0, 5, [], False, id="of none"),
        pytest.param(3, 5, [1, 2, 3], False, id="of fewer"),
        pytest.param(5, 5, [1, 2, 3, 4, 5], False, id="of as many"),
        pytest.param(8, 5, [4, 5, 6, 7, 8], True, id="of more"),
    ],
)
async def test_the_latest_entries_are_shown_oldest_first_and_how_to_see_older_ones(
    api: Api,
    client: TokenApiClient,
    capsys: pytest.CaptureFixture[str],
    entries: int,
    latest: int,
    numbers: list[int],
    hint: bool,  # noqa: FBT001 - a case's data
) -> None:
    for number in range(1, entries + 1):
        await api.add(number)
    shown = Shown()
    await tell(client, {}, shown, latest=latest, follow=False)
    assert shown.numbers == numbers
    assert ("--since" in capsys.readouterr().err) is hint


@pytest.mark.parametrize("latest", [None, 2], ids=["all", "the latest"])
@pytest.mark.parametrize("before", [0, 3], ids=["an empty trail", "a trail"])
async def test_who_follows_sees_each_new_entry_once(
    api: Api, client: TokenApiClient, latest: int | None, before: int
) -> None:
    for number in range(1, before + 1):
        await api.add(number)
    shown = Shown()
    following = asyncio.ensure_future(tell(client, {"token": ME}, shown, latest=latest, follow=True, interval=0))
    await api.until_asked(3)
    for number in (before + 1, before + 3):
        await api.add(number, OTHER)
        shown.changed.clear()
        await api.add(number + 1)
        await shown.changed.wait()
    await api.until_asked(len(api.asked) + 2)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    first = range(max(1, before + 1 - (latest or 9)), before + 1)
    assert shown.numbers == [*first, before + 2, before + 4]


@pytest.mark.parametrize("latest", [None, 4, 1], ids=["all", "as many", "the latest"])
async def test_who_follows_sees_changes_and_refused_calls_each_once_whichever_comes_first(
    api: Api, client: TokenApiClient, latest: int | None
) -> None:
    """Both may have the same id, and one of them a lower id than what was shown of the other."""
    for number in (1, 2):
        await api.add(number, action="denied")
        await api.add(number)
    shown = Shown()
    following = asyncio.ensure_future(tell(client, {"token": ME}, shown, latest=latest, follow=True, interval=0))
    await api.until_asked(3)
    for number, action in ((5, "denied"), (3, "update"), (5, "update"), (6, "update"), (6, "denied")):
        shown.changed.clear()
        await api.add(number, action=action)
        await shown.changed.wait()
    await api.until_asked(len(api.asked) + 2)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert shown.numbers == [*[1, 1, 2, 2][-(latest or 4) :], 5, 3, 5, 6, 6]


async def test_an_entry_that_comes_while_pages_are_read_is_shown_once(api: Api, client: TokenApiClient) -> None:
    """The page ends behind a refused call; the change that comes then has a lower id."""
    for number in range(1, 1001):
        await api.add(number * 2, action="denied")
    await api.add(3000, action="denied")
    shown = Shown()
    following = asyncio.ensure_future(tell(client, {"token": ME}, shown, latest=None, follow=True, interval=0))
    await api.until_asked(1)
    shown.changed.clear()
    await api.add(1001)
    while 1001 not in shown.numbers:
        await shown.changed.wait()
        shown.changed.clear()
    await api.until_asked(len(api.asked) + 2)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert sorted(shown.numbers) == sorted([*range(2, 2001, 2), 3000, 1001])


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1h", 1_800_000_000 - 3600),
        ("30d", 1_800_000_000 - 30 * 86400),
        ("45m", 1_800_000_000 - 45 * 60),
        ("999999d", 0),
        ("2027-01-15", 1_799_971_200),
        ("2027-01-15T08:00:00Z", 1_800_000_000),
        ("2027-01-15T09:00:00+01:00", 1_800_000_000),
        ("1970-01-01", 0),
        ("yesterday", None),
        ("-1h", None),
        ("", None),
    ],
)
def test_a_span_goes_back_from_now_and_a_date_is_what_it_is(text: str, moment: int | None) -> None:
    assert moment_since(text, NOW) == moment


# What is shown.


def entry(action: str = "update", **parts: Any) -> ShownEntry:
    sensible: dict[str, Any] = {
        "when": "2027-01-15T08:00:00.123Z",
        "actor": ShownEntry.Actor("u" * 32, "user", "192.0.2.7"),
        "resource": ShownEntry.Resource("token", ME),
        "metadata": ShownEntry.Metadata(actor_token=OTHER),
    }
    return ShownEntry(id="1-1", action=ShownEntry.Action(action, action != "denied"), **sensible | parts)


def test_an_entry_is_one_line_where_there_is_room() -> None:
    changed = entry(before={"status": "active"}, after={"status": "disabled"})
    (line,) = entry_lines(changed, wide=True)
    assert line.startswith(f"2027-01-15T08:00:00.123Z  update        token {ME}  by token {OTHER} from 192.0.2.7  ")
    assert line.endswith("  status: active -> disabled")


def test_an_entry_is_a_few_narrow_lines_where_there_is_none() -> None:
    lines = entry_lines(entry(after={"name": "x"}), wide=False)
    assert lines == [
        f"2027-01-15T08:00:00.123Z  update  token {ME}",
        f"  by token {OTHER} from 192.0.2.7",
        '  "x"',
    ]


@pytest.mark.parametrize(
    ("of", "words"),
    [
        pytest.param(
            entry("freeze", actor=ShownEntry.Actor(type="admin"), metadata=ShownEntry.Metadata()),
            "by an operator",
            id="an operator at the machine",
        ),
        pytest.param(entry("expire", actor=ShownEntry.Actor(), metadata=ShownEntry.Metadata()), "by -", id="nobody"),
        pytest.param(entry(when=None), "no date", id="a moment that has no date"),
    ],
)
def test_what_an_entry_lacks_is_said(of: ShownEntry, words: str) -> None:
    assert words in " ".join(entry_lines(of, wide=True))


@pytest.mark.parametrize(
    ("of", "words"),
    [
        pytest.param(entry("create", after={"name": "deploy"}), '"deploy"', id="a new token"),
        pytest.param(entry("delete", before={"name": "deploy"}), '"deploy"', id="a deleted token"),
        pytest.param(
            entry("revoke-self", before={"name": "deploy"}), 'by its own secret, "deploy"', id="one that ended itself"
        ),
        pytest.param(
            entry(
                before={"name": "a", "policies": [1], "expires_on": "x", "modified_on": "1"},
                after={"name": "b", "policies": [2], "modified_on": "2"},
            ),
            "expires_on: x -> none, name: a -> b, policies",
            id="several fields",
        ),
        pytest.param(
            entry("roll", before={"modified_on": "1", "issued_by": "a"}, after={"modified_on": "2", "issued_by": "b"}),
            "a new secret",
            id="a roll",
        ),
        pytest.param(entry("freeze"), "", id="nothing to say"),
        pytest.param(
            entry("denied", metadata=ShownEntry.Metadata(method="PUT", path="/x", reason="forbidden")),
            "PUT /x: forbidden",
            id="a refused call",
        ),
        pytest.param(
            entry(metadata=ShownEntry.Metadata(unreadable=True)), "parts of this entry cannot be read", id="unreadable"
        ),
    ],
)
def test_what_is_different_is_said_in_few_words(of: ShownEntry, words: str) -> None:
    assert change_in_words(of) == words


def test_text_of_others_is_not_obeyed() -> None:
    hostile = entry(after={"name": "\x1b[2J\u202e[red]x"}, resource=ShownEntry.Resource("token\n", "x"))
    for wide in (True, False):
        text = "\n".join(entry_lines(hostile, wide=wide))
        assert "\\u001b[2J\\u202e[red]x" in text
        assert len(text.splitlines()) == (1 if wide else 3)


# The command.


async def run(*arguments: str, url: str, secret: str = SECRET) -> Result:
    """`zonegate audit ARGUMENTS`, beside this loop."""

    def invoke() -> Result:
        return CliRunner().invoke(
            app, ["audit", *arguments], env={"ZONEGATE_URL": url, "ZONEGATE_TOKEN": secret, "COLUMNS": "200"}
        )

    result = await asyncio.to_thread(invoke)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert secret not in result.output
    return result


async def test_the_export_is_a_line_of_json_for_each_entry_as_the_api_gives_it(api: Api) -> None:
    for number in range(1, 4):
        await api.add(number, after='{"name": "K\u00f6ln\u2028"}')
    result = await run("--json", url=api.url)
    assert (result.exit_code, result.stderr) == (0, "")
    entries = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["id"] for each in entries] == ["1000-0", "2000-0", "3000-0"]
    assert entries[0]["newValueJson"] == {"name": "K\u00f6ln\u2028"}
    assert result.stdout.isascii()


async def test_people_see_a_line_for_each_entry(api: Api) -> None:
    await api.add(1)
    await api.add(2, action="denied", method="PUT", path="/x", reason="2")
    result = await run(url=api.url)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first.startswith("1970-01-01T00:00:01.000Z  update")
    assert second.endswith("PUT /x: 2")


async def test_token_and_moment_are_asked_of_the_api(api: Api) -> None:
    for number in range(1, 5):
        await api.add(number, ME if number % 2 else OTHER)
    result = await run("--json", "--token", ME, "--since", "1970-01-01T00:00:02Z", url=api.url)
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["3000-0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--token", "mine"], "--token 'mine': not a token's id", id="a token's name"),
        pytest.param(["--token", "\u202e"], "--token '\\u202e': not a token's id", id="what a terminal obeys"),
        pytest.param(["--since", "soon"], "--since 'soon': not a moment, such as 1h, 30d", id="no moment"),
    ],
)
async def test_wrong_use_is_one_line_and_nobody_is_asked(arguments: list[str], words: str) -> None:
    result = await run(*arguments, url=f"http://127.0.0.1:{free_port()}/v4")
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_a_gateway_that_is_not_there_is_one_line() -> None:
    url = f"http://127.0.0.1:{free_port()}/v4"
    result = await run("--follow", url=url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"zonegate: {url}: no connection")
    assert len(result.stderr.splitlines()) == 1


async def follow(url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        ZONEGATE,
        *("audit", "--follow", "--json"),
        env=os.environ | {"ZONEGATE_URL": url, "ZONEGATE_TOKEN": SECRET},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def line_of(process: asyncio.subprocess.Process) -> Any:
    assert process.stdout is not None
    return json.loads(await asyncio.wait_for(process.stdout.readline(), 20))


async def test_ctrl_c_ends_following_without_a_word(api: Api) -> None:
    await api.add(1)
    process = await follow(api.url)
    assert (await line_of(process))["id"] == "1000-0"
    await api.add(2)
    assert (await line_of(process))["id"] == "2000-0"
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.communicate(), 20) == (b"", b"")
    assert process.returncode == 130


async def test_a_connection_that_breaks_ends_following_with_one_line(
    api: Api, aiohttp_server: Callable[..., Awaitable[TestServer]]
) -> None:
    site = web.Application()
    site.router.add_route("GET", "/{path:.*}", api.handle)
    server = await aiohttp_server(site)
    await api.add(1)
    process = await follow(str(server.make_url("/v4")))
    await line_of(process)
    await server.close()
    out, error = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out) == (1, b"")
    assert error.startswith(b"zonegate: http://127.0.0.1:")
    assert len(error.splitlines()) == 1
