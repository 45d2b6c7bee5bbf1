"""Lists that are cut down to what a token may see (DESIGN 8, "Filtered lists").

The gateway walks the upstream's pages itself, so that the client's pages are full and their totals exact: a total of
the whole would tell of what is not the token's. An item passes byte for byte or not at all, and an answer that cannot
be read never does.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec
import structlog

from gateway.access.compiled import CompiledToken
from gateway.access.decision import Allow
from gateway.access.ports import StoreUnavailable, ZoneAccounts
from gateway.access.question import Unknown
from gateway.catalog.api import Filter, Route
from gateway.proxy.ask import Answered, Ask
from gateway.proxy.field_line import FieldLine, plain_spelling
from gateway.proxy.forward import RequestHead
from gateway.proxy.header_rules import Client
from gateway.proxy.list_body import ListBody, read_list, write_list
from gateway.proxy.member import member
from gateway.proxy.page import Page, query_up, read_page
from gateway.proxy.ports import ClientSide, UpstreamFailed
from gateway.proxy.room import NoRoom, Place, Room
from gateway.reason import Deny, Reason
from gateway.tokens.resource import Account, Scope

log = structlog.get_logger(__name__)

Still = Callable[[], Awaitable[Allow | Deny]]
"""What is decided by now on the request that was allowed."""

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a list, all its pages together."""
MOST: Final = 256 * 1024 * 1024
"""Bytes of all lists that a worker holds."""
MOST_PAGES: Final = 200
REMEMBERED: Final = 5.0
"""Seconds that a list is there for the pages that follow its first."""
_MOST_REMEMBERED: Final = 256
_IN_A_ROW: Final = 500
"""Items that are judged before all others have their turn."""
_AT_ONCE: Final = 8
"""Accounts of zones that are asked for together."""
_NEVER_UP: Final = frozenset(
    {
        b"range",
        b"if-range",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
        b"accept-encoding",
        b"want-digest",
        b"want-content-digest",
        b"want-repr-digest",
    }
)
"""What asks for a part of the whole, or for another form of it; in plain spelling, as are the next."""
_NEVER_DOWN: Final = frozenset(
    {
        b"content-length",  # said anew, as the next
        b"cache-control",
        b"expires",
        b"age",
        b"etag",
        b"last-modified",
        b"digest",
        b"content-digest",
        b"repr-digest",
        b"content-md5",
        b"content-range",
        b"accept-ranges",
        b"signature",
        b"signature-input",
        b"link",  # to the upstream's own pages
        b"x-total",
        b"x-total-count",
        b"x-total-pages",
    }
)
"""What is said of the whole."""
_ESCAPE: Final = re.compile(r"=(?!3D)([0-9A-F]{2})", re.IGNORECASE)
_OURS: Final = b"Cache-Control: private\r\n"
"""Whatever the upstream said: another token's list is another one."""


class Passed(msgspec.Struct, frozen=True):
    """An answer that goes down. `lines`: of its head, but for framing and what concerns the connection; `place`: it
    stands there until the client has taken it, however slow he is, and whoever sends it empties that then.
    """

    status: int
    lines: bytes
    body: bytes
    place: Place


class _Item(msgspec.Struct, frozen=True, gc=False):
    """One of a list, as it came. `name`: of its zone, or of its account where the list is one of accounts; `account`:
    the zone's, None where nobody knows.
    """

    raw: bytes
    name: str
    account: str | None


class _Request(msgspec.Struct, frozen=True):
    """What is asked of the upstream, page by page. `lines`: fields that go up; `others`: the query, less the page."""

    allow: Allow
    filter: Filter
    lines: bytes
    others: bytes | None
    request_id: bytes


class _Walk(msgspec.Struct, eq=False):
    """A list that was walked to its end, and cut down to what `token` may see."""

    token: CompiledToken
    lines: bytes
    body: ListBody
    """Of its first page, without the items."""
    items: Sequence[_Item]
    place: Place


_Key = tuple[str, Route, tuple[bytes, ...], bytes]


class Lists:
    """Answers requests for filtered lists."""

    def __init__(
        self,
        ask: Ask,
        accounts: ZoneAccounts,
        *,
        most: int = MOST,
        largest: int = LARGEST,
        remembered: float = REMEMBERED,
    ) -> None:
        """Must be made while the loop runs. `most` bytes in all, `largest` for one list; `remembered` for so many
        seconds.
        """
        self._ask = ask
        self._accounts = accounts
        self._largest = largest
        self._remembered = remembered
        self._loop = asyncio.get_running_loop()
        self._walks: dict[_Key, _Walk] = {}
        self._room = Room(most, largest, spare=self._spare)

    async def answer(
        self, allow: Allow, head: RequestHead, client: Client, request_id: bytes, still: Still
    ) -> Passed | Deny:
        """What a token that is allowed to ask for the list may see of it.

        `client`: what we assert of him; `still` is asked once the list is there, for that takes its time.
        """
        cut = allow.route.filter
        if cut is None:
            return Deny(reason=Reason.INTERNAL_ERROR)
        page, others = None, allow.target.query
        if cut.pages is not None:
            asked = read_page(others, cut.pages)
            if isinstance(asked, Deny):
                return asked
            page, others = asked
            walk = self._walks.get(_key(allow, others)) if page.number > 1 else None
            if walk is not None and walk.token is allow.principal.token:
                return self._page(walk, page)
        request = _Request(allow, cut, self._lines_up(allow, head, client, request_id), others, request_id)
        try:
            found = await self._fetch(request, still)
        except UpstreamFailed as failed:
            log.warning("no list", request_id=request_id.decode("ascii"), error=str(failed))
            return Deny(reason=Reason.UPSTREAM_TIMEOUT if failed.timeout else Reason.UPSTREAM_UNREACHABLE)
        except StoreUnavailable as error:
            log.warning("no list", request_id=request_id.decode("ascii"), error=str(error))
            return Deny(reason=Reason.STORE_UNAVAILABLE)
        except NoRoom:
            return Deny(reason=Reason.OVERLOADED)
        if not isinstance(found, _Walk):
            return found
        if page is None:
            return Passed(HTTPStatus.OK, found.lines, _part(found, None), found.place)
        self._remember(_key(allow, others), found)
        return self._page(found, page)

    def _lines_up(self, allow: Allow, head: RequestHead, client: Client, request_id: bytes) -> bytes:
        return self._ask.backend(allow.route.api.name).rules.lines_up(
            _of_the_whole(head.ordinary),
            _of_the_whole(head.special),
            head.options,
            client=client,
            host=head.host,
            request_id=request_id,
            token_id=allow.principal.token.id.encode("ascii"),
        )

    # The walk.

    async def _fetch(self, request: _Request, still: Still) -> _Walk | Passed | Deny:
        """The list as the upstream has it now, cut down; or its refusal, or ours."""
        with self._room.place() as place:
            found = await self._walk(request, place)
            now = await still() if isinstance(found, _Walk) else found
            if isinstance(found, _Walk) and isinstance(now, Allow):
                token = now.principal.token
                if token is not found.token:  # it was changed meanwhile
                    if not _is_by_account(found.token):  # then nobody looked for pins: no account is sure
                        found.items = [msgspec.structs.replace(item, account=None) for item in found.items]
                    found.items = [item for item in found.items if _is_shown(token, request.allow.route, item)]
                    found.token = token
                return found
            if not isinstance(now, Passed):
                place.empty()
        assert not isinstance(now, (Allow, _Walk))  # noqa: S101 - see above
        return now

    async def _walk(self, request: _Request, place: Place) -> _Walk | Passed:
        """All pages. Raises UpstreamFailed for an answer that is no list."""
        route, pages = request.allow.route, request.filter.pages
        token = request.allow.principal.token
        path = request.allow.target.segments[len(route.api.prefix) :]
        left = self._largest
        walk = None
        shown: list[_Item] = []
        seen: set[bytes] = set()
        for number in range(1, MOST_PAGES + 1):
            answer = await self._ask.get(
                route.api.name,
                path,
                most=left,
                query=request.others if pages is None else query_up(request.others or b"", pages, number),
                lines=request.lines,
                request_id=request.request_id,
                take=place.take,
            )
            if answer.status >= HTTPStatus.BAD_REQUEST:
                return Passed(answer.status, _lines_down(answer, frozenset({b"content-length"})), answer.body, place)
            body = _read(answer, request.filter)
            fresh = body.items if pages is None else _fresh(body.items, seen)
            kept = await self._shown(token, route, fresh)
            shown += kept
            left -= len(answer.body)
            place.give(len(answer.body) - sum(len(item.raw) for item in kept))
            if walk is None:
                bare = msgspec.structs.replace(body, items=[])
                walk = _Walk(token, _lines_down(answer, _NEVER_DOWN) + _OURS, bare, shown, place)
            last = body.pages
            if last is not None and last > MOST_PAGES:
                break
            if pages is None or (number >= last if last is not None else not fresh):
                return walk
        raise UpstreamFailed(f"a list of more than {MOST_PAGES} pages")

    async def _shown(self, token: CompiledToken, route: Route, items: Sequence[msgspec.Raw]) -> list[_Item]:
        """Those that `token` may see, in their order."""
        found: list[_Item] = []
        wanted: dict[str, None] = {}
        pins = await self._pins(token, route, items)
        for number, raw in enumerate(items, 1):
            item = _item(raw, route)
            if item is not None:
                if pins and (pin := pins.get(route.api.zone(item.name).name)):
                    item = msgspec.structs.replace(item, account=pin)
                if _turns_on_account(token, route, item):
                    wanted[item.name] = None
                found.append(item)
            if not number % _IN_A_ROW:
                await asyncio.sleep(0)
        if wanted:
            accounts = await self._accounts_of(route, list(wanted))
            found = [msgspec.structs.replace(item, account=item.account or accounts.get(item.name)) for item in found]
        shown: list[_Item] = []
        for start in range(0, len(found), _IN_A_ROW):
            shown += [item for item in found[start : start + _IN_A_ROW] if _is_shown(token, route, item)]
            await asyncio.sleep(0)
        return shown

    async def _pins(self, token: CompiledToken, route: Route, items: Sequence[msgspec.Raw]) -> Mapping[str, str]:
        """The accounts of zones that an operator has put down: they go before those that the list tells."""
        told = route.filter is not None and route.filter.account
        if route.scope is not Scope.ZONE or not told or not _is_by_account(token):
            return {}
        named = (_item(raw, route) for raw in items)
        return await self._accounts.pinned(
            route.api, list({route.api.zone(item.name).name: None for item in named if item is not None})
        )

    async def _accounts_of(self, route: Route, names: Sequence[str]) -> dict[str, str]:
        """The accounts of those zones that have one. Raises UpstreamFailed where that cannot be asked."""
        found: dict[str, str] = {}

        async def find(name: str) -> None:
            zone = route.api.zone(name).name
            account = await self._accounts.find(route.api, zone)
            if isinstance(account, str):
                found[name] = account
            elif account is Unknown.UNREACHABLE:
                unreachable.append(name)

        unreachable: list[str] = []
        for some in range(0, len(names), _AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for name in names[some : some + _AT_ONCE]:
                    group.create_task(find(name))
            if unreachable:
                raise UpstreamFailed("the account of a zone could not be asked for")
        return found

    def _page(self, walk: _Walk, page: Page) -> Passed | Deny:
        body = _part(walk, page)
        try:
            return Passed(HTTPStatus.OK, walk.lines, body, self._room.hold(len(body)))
        except NoRoom:
            return Deny(reason=Reason.OVERLOADED)

    # Following pages.

    def _remember(self, key: _Key, walk: _Walk) -> None:
        self._forget(key)
        if len(self._walks) >= _MOST_REMEMBERED:
            self._spare()
        self._walks[key] = walk
        self._loop.call_later(self._remembered, self._forget, key, walk)

    def _forget(self, key: _Key, walk: _Walk | None = None) -> None:
        """The list under `key`; if `walk` is named, only that very one."""
        held = self._walks.get(key)
        if held is not None and walk in (None, held):
            del self._walks[key]
            held.place.empty()

    def _spare(self) -> bool:
        oldest = next(iter(self._walks), None)
        if oldest is None:
            return False
        self._forget(oldest)
        return True


def _key(allow: Allow, others: bytes | None) -> _Key:
    return allow.principal.token.id, allow.route, allow.target.segments, others or b""


def _of_the_whole(fields: Iterable[FieldLine]) -> list[FieldLine]:
    """Those of a client's `fields` that do not ask for a part, or another form, of what they are for."""
    return [field for field in fields if field.plain not in _NEVER_UP]


def _lines_down(answer: Answered, without: frozenset[bytes]) -> bytes:
    lines = [
        b"%b: %b\r\n" % (name, value) for name, value in answer.fields if plain_spelling(name.lower()) not in without
    ]
    return answer.status_line + b"".join(lines)


def _read(answer: Answered, cut: Filter) -> ListBody:
    """The list in a success. Raises UpstreamFailed: what cannot be read is passed on to nobody."""
    if answer.status != HTTPStatus.OK or answer.is_encoded:
        raise UpstreamFailed(f"a list that cannot be read: status {answer.status}, or compressed")
    try:
        return read_list(answer.body, cut.items)
    except msgspec.DecodeError as error:
        raise UpstreamFailed("a list that cannot be read") from error


def _fresh(items: Iterable[msgspec.Raw], seen: set[bytes]) -> list[msgspec.Raw]:
    """Those that were not `seen` on an earlier page: the list may grow while it is walked."""
    found = []
    for raw in items:
        name = _member(raw, ("id",))
        key = str(name).encode("utf-8", "surrogatepass") if isinstance(name, str | int) else bytes(raw)
        if key not in seen:
            seen.add(key)
            found.append(raw)
    return found


def _member(raw: msgspec.Raw, path: tuple[str, ...]) -> object:
    try:
        return member(raw, path)
    except msgspec.DecodeError:  # what was skipped before was looked at less closely
        return None


def _item(raw: msgspec.Raw, route: Route) -> _Item | None:
    """One of the list of `route`; None where it does not say whose it is.

    The name is the zone's own, whichever escapes it comes in: of an id in a list PowerDNS writes all but letters,
    digits, dots and hyphens as `=XX` (`=5Facme.example.`), and a deny of `_acme.example` has to cover it there too. An
    escaped `=` stays, or what is behind it would become an escape.
    """
    cut = route.filter
    assert cut is not None  # noqa: S101 - it is a list's
    account = _member(raw, cut.account) if cut.account else None
    account = account if isinstance(account, str) and account else None
    name = _member(raw, cut.zone) if route.scope is Scope.ZONE else account
    if not isinstance(name, str) or not name:
        return None
    if route.scope is Scope.ZONE and route.api.zone_key == "dns-name":
        name = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)
    return _Item(bytes(raw), name, account)


def _is_shown(token: CompiledToken, route: Route, item: _Item) -> bool:
    if route.scope is Scope.ZONE:
        return token.sees(route, route.api.zone(item.name), item.account)
    return token.sees(route, Account(item.name), None)


def _turns_on_account(token: CompiledToken, route: Route, item: _Item) -> bool:
    """Whether some account, which nobody told, could show the item. Unknown, it is covered by each deny and no allow:
    what is shown all the same is shown whatever the account.
    """
    if route.scope is not Scope.ZONE or item.account is not None or _is_shown(token, route, item):
        return False
    return _is_by_account(token)


def _is_by_account(token: CompiledToken) -> bool:
    """Whether it may matter in which account a zone lies."""
    ceiling = token.ceiling
    return bool(token.rights.zones_of or (ceiling is not None and ceiling.rights.zones_of))


def _part(walk: _Walk, page: Page | None) -> bytes:
    """The body of a page of the list, or of all of it where it has none."""
    total = len(walk.items)
    if page is None:
        part, info = slice(total), Page(1, max(total, 1)).info(total) if walk.body.has_info else None
    else:
        part, info = page.of(total), page.info(total)
    items = [item.raw for item in walk.items[part]]
    return write_list(walk.body, items, info)


def pass_on(answer: Passed, side: ClientSide, *, is_head: bool, ends_with_close: bool) -> None:
    """Send `answer` down, without its body if `is_head` (RFC 9110 9.3.2)."""
    side.write(
        b"%bContent-Length: %d\r\n%b\r\n%b"
        % (
            answer.lines,
            len(answer.body),
            side.begin(answer.status, ends_with_close=ends_with_close),
            b"" if is_head else answer.body,
        )
    )
    side.done()
