"""From an `Allow` to a relay: the request as it goes up."""

from collections.abc import Mapping, Sequence

import msgspec

from gateway.access.decision import Allow
from gateway.catalog.target import fault_in_segment, is_plain_path
from gateway.proxy.field_line import FieldLine
from gateway.proxy.header_rules import Client, UpRules
from gateway.proxy.ports import ClientSide
from gateway.proxy.relay import Outgoing, Relay, Where
from gateway.reason import Deny, Reason

_UNSENDABLE = Deny(reason=Reason.BAD_REQUEST, detail="path: not one that this API can be sent")


class Backend(msgspec.Struct, frozen=True, eq=False):
    """An API's upstream, and what its requests look like. `base_path`: segments that replace the API's prefix."""

    where: Where
    rules: UpRules
    base_path: tuple[bytes, ...]


class ForwardedRequest(msgspec.Struct, frozen=True, gc=False):
    """The part of a client's request that the decision was not made of.

    `length` None with `has_body`: chunked. `body`: all of it, if it has come; None: it is streamed. `upgrade`: to
    WebSocket, which the route allows.
    """

    ordinary: Sequence[FieldLine]
    special: Sequence[FieldLine]
    options: frozenset[bytes]
    host: bytes
    has_body: bool
    length: int | None
    expects_continue: bool
    body: bytes | None
    upgrade: bool = False


def target_up(allow: Allow, base_path: Sequence[bytes]) -> bytes | None:
    """The request target for the upstream: the judged segments, byte for byte, under `base_path`; None if the whole
    would not pass the judgement that its part passed.
    """
    target = allow.target
    segments = (*base_path, *target.segments[len(allow.route.api.prefix) :])
    path = b"/" + b"/".join(segments)
    if not is_plain_path(path) and any(fault_in_segment(segment) for segment in segments):
        return None
    return path if target.query is None else b"%b?%b" % (path, target.query)


class Proxy:
    """Forwards to the upstreams of all served APIs."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    def relay(
        self, allow: Allow, method: str, request: ForwardedRequest, client: Client, side: ClientSide
    ) -> Relay | Deny:
        """The relay of what was allowed, which has not begun yet. `client`: what we assert of him; `side`: where the
        answer goes.
        """
        backend = self._backends[allow.route.api.name]
        target = target_up(allow, backend.base_path)
        if target is None:
            return _UNSENDABLE
        lines = backend.rules.lines_up(
            request.ordinary,
            request.special,
            request.options,
            client=client,
            host=request.host,
            request_id=side.request_id,
            token_id=allow.principal.token.id.encode(),
        )
        body, framing = request.body, b""
        streamed = body is None
        if request.has_body:
            if request.length is not None or body is not None:
                framing = b"Content-Length: %d\r\n" % (len(body) if body is not None else request.length or 0)
            else:
                framing = b"Transfer-Encoding: chunked\r\n"
            if request.expects_continue and streamed:
                framing += b"Expect: 100-continue\r\n"
        elif request.length is not None:
            framing = b"Content-Length: 0\r\n"
        if request.upgrade:
            framing += b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        return Relay(
            backend.where,
            side,
            Outgoing(
                method,
                b"%b %b HTTP/1.1\r\n" % (method.encode(), target),
                b"%b%b\r\n" % (lines, framing),
                body or b"",
                streamed=streamed,
                chunked=streamed and request.length is None,
                expects_continue=streamed and request.expects_continue,
                upgrade=request.upgrade,
            ),
        )

    def close(self) -> None:
        """Close the connections to every upstream."""
        for backend in self._backends.values():
            backend.where.pool.close()
