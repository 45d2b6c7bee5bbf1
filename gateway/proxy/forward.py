"""The relay: one allowed request up, one answer down."""

import http
from collections.abc import Mapping, Sequence

import msgspec

from gateway.access.decision import Allow
from gateway.catalog.target import fault_in_segment
from gateway.proxy.header_rules import Client, UpRules, fields_down, fields_up
from gateway.proxy.ports import (
    BodyRefused,
    ClientConnection,
    ClientGone,
    Fields,
    Incoming,
    Outgoing,
    Upstream,
    UpstreamAnswer,
    UpstreamFailed,
)
from gateway.reason import Deny, Reason


class Backend(msgspec.Struct, frozen=True):
    """An API's upstream, and what its requests look like. `base_path`: segments that replace the API's prefix."""

    upstream: Upstream
    rules: UpRules
    base_path: tuple[bytes, ...]


class ForwardedRequest(msgspec.Struct, frozen=True):
    """The part of a client's request that the decision was not made of. `length` None with a body: chunked."""

    method: str
    fields: Fields
    has_body: bool
    length: int | None
    client: Client


def target_up(allow: Allow, base_path: Sequence[bytes]) -> bytes | None:
    """The request target for the upstream: the judged segments, byte for byte, under `base_path`; None if the whole
    would not pass the judgement that its part passed.
    """
    segments = (*base_path, *allow.target.segments[len(allow.route.api.prefix) :])
    if any(fault_in_segment(segment) for segment in segments):
        return None
    query = b"" if allow.target.query is None else b"?" + allow.target.query
    return b"/" + b"/".join(segments) + query


class Proxy:
    """Forwards to the upstreams of all served APIs."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    async def forward(self, allow: Allow, request: ForwardedRequest, connection: ClientConnection) -> Deny | None:
        """Relay the request and its answer over `connection`; a Deny when nothing was answered yet.

        Raises ClientGone. An answer that breaks off aborts the client's connection.
        """
        backend = self._backends[allow.route.api.name]
        target = target_up(allow, backend.base_path)
        if target is None:
            return Deny(reason=Reason.BAD_REQUEST, detail="path: not one that this API can be sent")
        outgoing = Outgoing(
            method=request.method,
            target=target,
            fields=fields_up(request.fields, backend.rules, request.client),
            has_body=request.has_body,
            length=request.length,
        )
        started = False
        try:
            async with backend.upstream.exchange(outgoing, connection.body()) as answer:
                started = True
                await _relay(answer, backend.rules, request.client, connection)
        except BodyRefused as refused:
            if started:
                connection.abort()
                raise ClientGone from refused
            return refused.deny
        except UpstreamFailed as failed:
            if started:
                # Never a clean end on a cut body.
                connection.abort()
                raise ClientGone from failed
            return Deny(reason=Reason.UPSTREAM_TIMEOUT if failed.timeout else Reason.UPSTREAM_UNREACHABLE)
        return None

    async def close(self) -> None:
        """Close the connections to every upstream."""
        for backend in self._backends.values():
            await backend.upstream.close()


async def _relay(answer: UpstreamAnswer, rules: UpRules, client: Client, connection: ClientConnection) -> None:
    head = answer.head
    fields = fields_down(head.fields, rules.passed, request_id=client.request_id)
    if not head.has_body and head.length is not None and head.status != http.HTTPStatus.NO_CONTENT:
        # To HEAD, and in a 304, the length is that of a body which is not sent (RFC 9110 8.6).
        fields = [*fields, (b"Content-Length", str(head.length).encode())]
    await connection.start(
        Incoming(
            status=head.status,
            phrase=head.phrase,
            fields=fields,
            length=head.length,
            has_body=head.has_body,
        )
    )
    if head.has_body:
        async for piece in answer.body():
            await connection.write(piece)
    await connection.finish()
