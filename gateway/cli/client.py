"""A client of the token API: one conversation, one connection, a deadline, no second try.

Whatever comes back is read into structs here; an answer that is not the token API's never gets further. Redirects are
not followed: the secret goes to the address that was given, and nowhere else.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec

from gateway.cli.answer import (
    Answer,
    AuditPage,
    Envelope,
    Explained,
    Group,
    Note,
    OwnerAnswer,
    OwnerName,
    ShownEntry,
    ShownOwner,
    ShownToken,
    Verified,
)
from gateway.cli.failure import why_not
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.resource import Scope
from gateway.tokens.secret import Sensitive

TIMEOUT: Final = 10.0
"""Seconds for one request, from the connection to the answer's last byte."""
_PER_PAGE: Final = 50
_CHANGES: Final = frozenset({"POST", "PUT", "DELETE"})

Talked = TypeVar("Talked")


class NoAnswer(Exception):  # noqa: N818 - it is said to a person
    """The token API did not answer, or what answered is not the token API: a line that names URL and remedy."""


class Refused(Exception):  # noqa: N818 - it is said to a person
    """The token API said no: `status`, and what it said."""

    def __init__(self, status: int, errors: Sequence[Note], messages: Sequence[Note]) -> None:
        super().__init__(status)
        self.status = status
        self.errors = tuple(errors)
        self.messages = tuple(messages)


class TokenApiClient:
    """The token API at `url`. Every method raises Refused and NoAnswer."""

    def __init__(self, url: str, session: aiohttp.ClientSession, deadline: float, account: str | None = None) -> None:
        """`account`: tokens are those that it owns, not those of the caller's user."""
        self._url = url
        self._account = account
        self._tokens = tokens_of(account)
        self._session = session
        self._deadline = deadline

    async def tokens(self) -> list[Answer]:
        """All tokens of the caller's user, or of the account; expired ones too, the oldest first."""
        return [self._token(item) for item in await self._pages(self._tokens, "&include_expired=true")]

    async def _pages(self, path: str, query: str = "") -> list[dict[str, Any]]:
        """All items of a list, the oldest first; each has an id, and a kind where ids repeat."""
        found: dict[tuple[object, object], dict[str, Any]] = {}
        page = pages = 1
        while page <= pages:
            asked = f"{path}?page={page}&per_page={_PER_PAGE}&direction=asc{query}"
            envelope, _ = await self._ask("GET", asked)
            items = {
                (item.get("kind"), item.get("id")): item for item in self._read(envelope.result, list[dict[str, Any]])
            }
            if items.keys() <= found.keys():
                break  # an empty page; or a server that knows no pages, and would keep us here for ever
            found |= items
            pages = envelope.result_info.total_pages if envelope.result_info else 1
            page += 1
        return list(found.values())

    async def token(self, token_id: str) -> Answer:
        """One token."""
        envelope, etag = await self._ask("GET", f"{self._tokens}/{token_id}")
        return self._token(envelope.result, etag)

    async def create(self, body: dict[str, Any]) -> tuple[Answer, Sensitive]:
        """The new token, and its secret."""
        envelope, etag = await self._ask("POST", self._tokens, body)
        answer = self._token(envelope.result, etag)
        if not answer.token.value:
            raise self._foreign("a token without its value")
        return answer, Sensitive(answer.token.value)

    async def replace(self, token_id: str, body: dict[str, Any], etag: str) -> Answer:
        """The token with `body` in its place, if it is still the one that `etag` names; else Refused with 412."""
        envelope, new = await self._ask("PUT", f"{self._tokens}/{token_id}", body, {"If-Match": etag})
        return self._token(envelope.result, new)

    async def roll(self, token_id: str, overlap: int | None = None) -> Sensitive:
        """The new secret; the old one is dead, or goes on for `overlap` seconds."""
        body = {} if overlap is None else {"overlap": overlap}
        envelope, _ = await self._ask("PUT", f"{self._tokens}/{token_id}/value", body)
        return Sensitive(self._read(envelope.result, str))

    async def delete(self, token_id: str, *, cascade: bool = False) -> dict[str, Any]:
        """What the API says of a token that is no more; with `cascade` all that was made with it is no more either."""
        envelope, _ = await self._ask("DELETE", f"{self._tokens}/{token_id}{'?cascade=true' if cascade else ''}")
        return self._read(envelope.result, dict[str, Any])

    async def report_leaked(self, secrets: Sequence[Sensitive]) -> list[dict[str, Any]]:
        """What became of the tokens whose secrets are reported: id and outcome of each, in their order."""
        body = {"secrets": [secret.reveal() for secret in secrets]}
        envelope, _ = await self._ask("POST", "/user/tokens/leaked", body)
        return self._read(envelope.result, list[dict[str, Any]])

    async def verify(self) -> Verified:
        """The caller's own token."""
        envelope, _ = await self._ask("GET", f"{self._tokens}/verify")
        raw = self._read(envelope.result, dict[str, Any])
        notes = tuple(note.message for note in envelope.messages or ())
        return Verified(raw, self._read(raw, Verified.Result), notes)

    async def explain(self, token_id: str, asked: dict[str, Any], account: str | None = None) -> Explained:
        """Why the request that is asked about would pass or not, with a token of the caller's owner or of `account`."""
        envelope, _ = await self._ask("POST", f"{tokens_of(account)}/{token_id}/explain", asked)
        raw = self._read(envelope.result, dict[str, Any])
        return Explained(raw, self._read(raw, Explained.Result))

    async def permission_groups(self) -> PermissionGroups:
        """The gateway's permission groups; scopes that this version does not know are left out."""
        envelope, _ = await self._ask("GET", f"{self._tokens}/permission_groups")
        known = {scope.value: scope for scope in Scope}
        return PermissionGroups(
            PermissionGroup(group.id, group.name, tuple(known[scope] for scope in group.scopes if scope in known))
            for group in self._read(envelope.result, list[Group])
        )

    async def owners(self) -> list[OwnerAnswer]:
        """All owners, the oldest first."""
        return [self._owner(item) for item in await self._pages("/zonegate/owners")]

    async def owner(self, owner: OwnerName) -> OwnerAnswer:
        """One owner."""
        envelope, etag = await self._ask("GET", owner.path)
        return self._owner(envelope.result, etag)

    async def create_owner(self, body: dict[str, Any]) -> tuple[Answer, Sensitive]:
        """The new owner's first token, and its secret."""
        envelope, etag = await self._ask("POST", "/zonegate/owners", body)
        answer = self._token(envelope.result, etag)
        if not answer.token.value:
            raise self._foreign("a token without its value")
        return answer, Sensitive(answer.token.value)

    async def replace_owner(self, owner: OwnerName, body: dict[str, Any], etag: str) -> OwnerAnswer:
        """The owner with `body` in its place, if it is still the one that `etag` names; else Refused with 412."""
        envelope, new = await self._ask("PUT", owner.path, body, {"If-Match": etag})
        return self._owner(envelope.result, new)

    async def delete_owner(self, owner: OwnerName) -> dict[str, Any]:
        """What the API says of an owner that is no more."""
        envelope, _ = await self._ask("DELETE", owner.path)
        return self._read(envelope.result, dict[str, Any])

    async def zone(
        self, method: Literal["GET", "PUT", "DELETE"], api: str, zone: str, body: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """What is put down of a zone, after `method` was done to it."""
        path = f"/zonegate/zones/{quote(api, safe='')}/{quote(zone, safe='=*')}"
        envelope, _ = await self._ask(method, path, body)
        return self._read(envelope.result, dict[str, Any])

    async def audit(self, **asked: str | int) -> AuditPage:
        """A page of the audit; `asked` are the parameters of the API."""
        envelope, _ = await self._ask("GET", f"/zonegate/audit?{urlencode(asked)}")
        raw = self._read(envelope.result, list[dict[str, Any]])
        info = envelope.result_info or Envelope.Info()
        return AuditPage(tuple(raw), self._read(raw, tuple[ShownEntry, ...]), info.cursor, info.newest)

    async def zones_named(self, name: str) -> list[str] | None:
        """Ids of the zones of that name, by the list that the API behind the gateway has at `/zones`, as Cloudflare's
        has; None: it has none for this caller.
        """
        try:
            envelope, _ = await self._ask("GET", f"/zones?name={quote(name, safe='')}")
            zones = self._read(envelope.result, list[dict[str, Any]])
        except (Refused, NoAnswer):
            return None
        return [zone["id"] for zone in zones if zone.get("name") == name and isinstance(zone.get("id"), str)]

    async def own_user(self) -> str | None:
        """The id of the user whom the caller's token belongs to; None when it, or what it asks for, is an account's."""
        if self._account is not None:
            return None
        own = await self.verify()
        owner = (await self.token(own.result.id)).token.owner
        return owner.id if owner and owner.kind == "user" else None

    async def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[Envelope, str | None]:
        data = None if body is None else msgspec.json.encode(body)
        headers = (headers or {}) | ({} if data is None else {"Content-Type": "application/json"})
        try:
            async with self._session.request(
                method, self._url + path, data=data, headers=headers, allow_redirects=False
            ) as response:
                status, content, etag = response.status, await response.read(), response.headers.get("ETag")
        except TimeoutError:
            raise NoAnswer(self._late(method)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(self._unreachable(method, error)) from None
        try:
            envelope = msgspec.json.decode(content, type=Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._foreign(f"status {status} and something else than its JSON") from None
        if not envelope.success or not 200 <= status < 300:  # noqa: PLR2004 - RFC 9110 15.3
            raise Refused(status, envelope.errors or (), envelope.messages or ())
        return envelope, etag

    def _token(self, raw: object, etag: str | None = None) -> Answer:
        return Answer(self._read(raw, dict[str, Any]), self._read(raw, ShownToken), etag)

    def _owner(self, raw: object, etag: str | None = None) -> OwnerAnswer:
        return OwnerAnswer(self._read(raw, dict[str, Any]), self._read(raw, ShownOwner), etag)

    def _read(self, value: object, type_: type[Talked]) -> Talked:
        try:
            return msgspec.convert(value, type_)
        except msgspec.ValidationError:
            raise self._foreign("a result of another shape") from None

    def _foreign(self, what: str) -> NoAnswer:
        return NoAnswer(
            f"{self._url}: what answers there is not the token API ({what}): "
            "ZONEGATE_URL is the gateway's base URL with its prefix, such as http://127.0.0.1:8080/client/v4"
        )

    def _late(self, method: str) -> str:
        unknown = "; whether it was done is unknown: look before you repeat it" if method in _CHANGES else ""
        return (
            f"{self._url}: no answer within {self._deadline:g} s{unknown}: "
            "see whether the gateway is well, or set ZONEGATE_URL to another one"
        )

    def _unreachable(self, method: str, error: Exception) -> str:
        match error:
            case aiohttp.ClientConnectorCertificateError():
                why = "its certificate was not accepted: SSL_CERT_FILE names a file with its authority"
            case aiohttp.ClientSSLError():
                why = "no TLS to agree on: see whether ZONEGATE_URL begins with https:// rightly"
            case aiohttp.ClientConnectorError(os_error=cause):
                why = f"no connection ({why_not(cause)}): start the gateway with zonegate serve, or set ZONEGATE_URL"
            case _:
                unknown = "; whether it was done is unknown" if method in _CHANGES else ""
                why = f"the connection broke off{unknown}: see whether ZONEGATE_URL is the gateway's base URL"
        return f"{self._url}: {why}"


def tokens_of(account: str | None) -> str:
    """The path of the tokens of the caller's user, or of an account."""
    return "/user/tokens" if account is None else f"/accounts/{quote(account, safe='')}/tokens"


@asynccontextmanager
async def open_api(
    url: str, secret: Sensitive, deadline: float = TIMEOUT, account: str | None = None
) -> AsyncIterator[TokenApiClient]:
    """The token API at `url`, as the holder of `secret`; each request has `deadline` seconds."""
    headers = {
        "Authorization": f"Bearer {secret.reveal()}",
        "Accept": "application/json",
        # A proxy that compresses makes the ETag weak, and a weak one never matches (RFC 9110 13.1.1).
        "Accept-Encoding": "identity",
    }
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=deadline)) as session:
        yield TokenApiClient(url, session, deadline, account)


def talk(
    url: str,
    secret: Sensitive,
    conversation: Callable[[TokenApiClient], Awaitable[Talked]],
    account: str | None = None,
) -> Talked:
    """What `conversation` comes to. Raises Refused, NoAnswer."""

    async def whole() -> Talked:
        async with open_api(url, secret, account=account) as api:
            return await conversation(api)

    return asyncio.run(whole())
