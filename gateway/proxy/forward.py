"""From an `Allow` to a relay: the request as it goes up."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Protocol

import msgspec

from gateway.access.decision import Allow
from gateway.catalog.target import is_sound_path
from gateway.proxy.field_line import FieldLine
from gateway.proxy.header_rules import Client, UpRules
from gateway.proxy.ports import ClientSide
from gateway.proxy.relay import Outgoing, Relay, Where
from gateway.reason import Deny, Reason

_UNSENDABLE: Final = Deny(reason=Reason.BAD_REQUEST, detail="path: not one that this API can be sent")


class Backend(msgspec.Struct, frozen=True, eq=False):
    """An API's upstream, and what its requests look like. `base_path`: segments that replace the API's prefix."""

    where: Where
    rules: UpRules
    base_path: tuple[bytes, ...]


class RequestHead(Protocol):
    """What the relay needs of a request's head (`server.head.Head`)."""

    @property
    def method(self) -> str: ...  # noqa: D102 - its name says it, as that of the others
    @property
    def ordinary(self) -> Sequence[FieldLine]: ...  # noqa: D102
    @property
    def special(self) -> Sequence[FieldLine]: ...  # noqa: D102
    @property
    def options(self) -> frozenset[bytes]:
        """What `Connection` names."""

    @property
    def host(self) -> bytes: ...  # noqa: D102
    @property
    def has_body(self) -> bool: ...  # noqa: D102
    @property
    def length(self) -> int | None:
        """None with a body: chunked."""

    @property
    def expects_continue(self) -> bool: ...  # noqa: D102


def target_up(allow: Allow, base_path: tuple[bytes, ...]) -> bytes | None:
    """The request target for the upstream: the judged segments, byte for byte, under `base_path`; None if the whole
    would not pass the judgement that its part passed.
    """
    target = allow.target
    path = path_up(base_path, target.segments, len(allow.route.api.prefix))
    if path is None or target.query is None:
        return path
    return b"%b?%b" % (path, target.query)


@lru_cache(maxsize=4096)
def path_up(base_path: tuple[bytes, ...], segments: tuple[bytes, ...], prefix: int) -> bytes | None:
    """`segments` behind the first `prefix`, under `base_path`, as a path; None: see `target_up`."""
    whole = (*base_path, *segments[prefix:])
    path = b"/" + b"/".join(whole)
    return path if is_sound_path(path) else None


class Proxy:
    """Forwards to the upstreams of all served APIs."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    def relay(  # noqa: PLR0913 - what a request is made of
        self,
        allow: Allow,
        head: RequestHead,
        client: Client,
        side: ClientSide,
        *,
        body: bytes | None,
        upgrade: bool = False,
    ) -> Relay | Deny:
        """The relay of what was allowed, which has not begun yet.

        `client`: what we assert of him; `side`: where the answer goes; `body`: all of it, if it has come, None: it is
        streamed; `upgrade`: to WebSocket, which the route allows.
        """
        backend = self._backends[allow.route.api.name]
        target = target_up(allow, backend.base_path)
        if target is None:
            return _UNSENDABLE
        lines = backend.rules.lines_up(
            head.ordinary,
            head.special,
            head.options,
            client=client,
            host=head.host,
            request_id=side.request_id,
            token_id=allow.principal.token.id.encode(),
        )
        length = head.length if body is None else len(body)
        framing = b""
        if head.has_body:
            framing = b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
            if head.expects_continue:
                framing += b"Expect: 100-continue\r\n"
        elif head.length is not None:
            framing = b"Content-Length: 0\r\n"
        if upgrade:
            framing += b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        return Relay(
            backend.where,
            side,
            Outgoing(
                head.method,
                b"%b %b HTTP/1.1\r\n" % (head.method.encode(), target),
                lines + framing + b"\r\n" if framing else lines + b"\r\n",
                body or b"",
                body is None,
                length is None,
                head.has_body and head.expects_continue,
                upgrade,
            ),
        )

    def close(self) -> None:
        """Close the connections to every upstream: nobody is answered any more."""
        for backend in self._backends.values():
            backend.where.pool.close()
            backend.where.response_timeout.close()
