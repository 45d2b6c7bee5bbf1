"""WebSocket tunnels where a route asks for them, and no other protocol anywhere (RFC 9110 7.8, RFC 6455 4)."""

from support.raw_client import Gets, refused
from support.raw_connection import Hear, Reads, Tell
from support.records import ZONE_B

from .case import Case
from .words import (
    BREAK,
    CHUNKED,
    CLOSED,
    ENDED,
    HELLO_IN_A_CHUNK,
    LEAVE,
    OK,
    POST_5,
    SHUT,
    SOCKET,
    THINGS,
    UP_SOCKET,
    UP_THINGS,
    ask,
    bad,
    passes,
    refuses,
    seen,
    talk,
)

_UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
_WEBSOCKET = (_KEY, "Sec-WebSocket-Version: 13")
_ASK = ask(*_UPGRADE, *_WEBSOCKET, target=SOCKET)
_SEEN = seen(*_WEBSOCKET, target=UP_SOCKET, connection="Upgrade", upgrade="websocket")
_ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_SWITCHING = (
    f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{_ACCEPT}\r\n\r\n".encode()
)
_GETS_101 = Gets(101, has=("Upgrade: websocket", _ACCEPT), reads_body=False)


def _plain(name: str, *fields: str, sent: tuple[str, ...], target: str = SOCKET, method: str = "GET") -> Case:
    """No upgrade: the request goes on without it."""
    up = UP_SOCKET if target == SOCKET else UP_THINGS
    return passes(name, ask(*fields, target=target, method=method), seen(*sent, target=up, method=method))


CASES = (
    talk(
        "a tunnel",
        (_ASK, _GETS_101, b"\x81\x01a", Reads(b"\x81\x01b"), b"\x00\xff\r\n\r\n", LEAVE),
        (_SEEN, _SWITCHING, Reads(b"\x81\x01a"), b"\x81\x01b", Reads(b"\x00\xff\r\n\r\n"), ENDED),
    ),
    talk(
        "a tunnel whose client says its end",
        (_ASK, _GETS_101, b"up", SHUT, Reads(b"down"), CLOSED),
        (_SEEN, _SWITCHING, Reads(b"up"), CLOSED, b"down", LEAVE),
    ),
    talk(
        "a tunnel whose upstream says its end",
        (_ASK, _GETS_101, Reads(b"down"), CLOSED, b"up", LEAVE),
        (_SEEN, _SWITCHING + b"down", SHUT, Reads(b"up"), CLOSED),
    ),
    talk(
        "a tunnel whose client breaks off",
        (_ASK, _GETS_101, b"up", Hear("it came"), BREAK),
        (_SEEN, _SWITCHING, Reads(b"up"), Tell("it came"), ENDED),
    ),
    talk(
        "a tunnel whose upstream breaks off",
        (_ASK, _GETS_101, Reads(b"down"), Tell("it came"), ENDED),
        (_SEEN, _SWITCHING + b"down", Hear("it came"), BREAK),
    ),
    talk(
        "bytes of the tunnel behind the 101",
        (_ASK, _GETS_101, Reads(b"hello"), LEAVE),
        (_SEEN, _SWITCHING + b"hello", ENDED),
    ),
    talk(
        "bytes of the tunnel behind the request",
        (_ASK + b"early", Tell("all is sent"), _GETS_101, Reads(b"late"), LEAVE),
        (_SEEN, Hear("all is sent"), _SWITCHING, Reads(b"early"), b"late", ENDED),
    ),
    talk(
        "a request behind an upgrade that does not come",
        (_ASK + ask(), Gets(200, body=b"ok"), CLOSED),
        (_SEEN, OK),
    ),
    talk(
        "an upgrade that does not come, and nothing behind it",
        (_ASK, Gets(403, body=b"no")),
        (_SEEN, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
    ),
    talk(
        "an upgrade with its names in other letters",
        (
            ask("connection: keep-alive, UPGRADE", "upgrade: WebSocket", *_WEBSOCKET, target=SOCKET),
            _GETS_101,
            b"up",
            Hear("it came"),
            LEAVE,
        ),
        (
            seen(*_WEBSOCKET, target=UP_SOCKET, connection="Upgrade", upgrade="websocket"),
            _SWITCHING,
            Reads(b"up"),
            Tell("it came"),
            ENDED,
        ),
    ),
    talk(
        "what a WebSocket negotiates",
        (
            ask(*_UPGRADE, *_WEBSOCKET, "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: x", target=SOCKET),
            Gets(101, has=("Sec-WebSocket-Protocol: b",), reads_body=False),
            LEAVE,
        ),
        (
            seen(
                *_WEBSOCKET,
                "Sec-WebSocket-Protocol: a, b",
                "Sec-WebSocket-Extensions: x",
                target=UP_SOCKET,
                connection="Upgrade",
                upgrade="websocket",
            ),
            _SWITCHING.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: b\r\n\r\n"),
            ENDED,
        ),
    ),
    # Who may.
    refuses(
        "an upgrade without a credential",
        ask(*_UPGRADE, *_WEBSOCKET, target=SOCKET, credential=None),
        401,
        9106,
        then=None,
    ),
    refuses(
        "an upgrade for another's zone",
        ask(*_UPGRADE, *_WEBSOCKET, target=f"/v1/zones/{ZONE_B}/socket"),
        403,
        10000,
        then=None,
    ),
    bad("an upgrade with a body", ask(*_UPGRADE, *_WEBSOCKET, POST_5, target=SOCKET, body=b"hello")),
    bad("an upgrade with chunks", ask(*_UPGRADE, *_WEBSOCKET, CHUNKED, target=SOCKET, body=HELLO_IN_A_CHUNK)),
    # No upgrade.
    _plain("an upgrade where the route has none", *_UPGRADE, *_WEBSOCKET, sent=_WEBSOCKET, target=THINGS),
    _plain("h2c", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", sent=()),
    _plain("h2c, where the route has no upgrade", "Connection: Upgrade", "Upgrade: h2c", sent=(), target=THINGS),
    _plain(
        "an upgrade of another version",
        *_UPGRADE,
        _KEY,
        "Sec-WebSocket-Version: 8",
        sent=(_KEY, "Sec-WebSocket-Version: 8"),
    ),
    _plain("an upgrade without a version", *_UPGRADE, _KEY, sent=(_KEY,)),
    _plain(
        "an upgrade with a bad key",
        *_UPGRADE,
        "Sec-WebSocket-Key: short",
        "Sec-WebSocket-Version: 13",
        sent=("Sec-WebSocket-Key: short", "Sec-WebSocket-Version: 13"),
    ),
    _plain("an upgrade without a key", *_UPGRADE, "Sec-WebSocket-Version: 13", sent=("Sec-WebSocket-Version: 13",)),
    _plain("an upgrade that Connection does not name", _UPGRADE[1], *_WEBSOCKET, sent=_WEBSOCKET),
    passes(
        "an upgrade of HTTP/1.0",
        ask(*_UPGRADE, *_WEBSOCKET, target=SOCKET, version="HTTP/1.0"),
        seen(*_WEBSOCKET, target=UP_SOCKET),
        then=CLOSED,
    ),
    talk(
        "a 101 that nobody asked for",
        (ask(), refused(502, 10502)),
        (seen(), _SWITCHING, ENDED),
    ),
    talk(
        "a 101 to another protocol",
        (_ASK, refused(502, 10502)),
        (_SEEN, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", ENDED),
    ),
    talk(
        "a 101 that frames a body",
        (_ASK, refused(502, 10502)),
        (_SEEN, _SWITCHING[:-2] + b"Content-Length: 5\r\n\r\n", ENDED),
    ),
    talk(
        "a 101 where the upgrade was dropped",
        (ask(*_UPGRADE, *_WEBSOCKET), refused(502, 10502)),
        (seen(*_WEBSOCKET), _SWITCHING, ENDED),
    ),
)
