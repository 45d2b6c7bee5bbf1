"""What has two names: credentials, assertions of ours, overrides, in each spelling that some upstream reads as them."""

from support.records import TOKEN_ID

from .case import Case
from .words import BEARER, KEYED, NAMED, SECRET, UP_KEYED, UP_NAMED, ask, bad, passes, refuses, seen


def _drops(name: str, *lines: str) -> Case:
    """The fields `lines` stay behind."""
    return passes(name, ask(*lines))


def _replaces(name: str, *lines: str, **asserted: str | None) -> Case:
    return passes(name, ask(*lines), seen(**asserted))


CASES = (
    _drops(
        "other spellings of a stranger's",
        "X_Forwarded_For: 10.9.8.7",
        "X.Forwarded.Host: evil.example",
        "X-Forwarded_Proto: https",
        "X_Real_IP: 1",
    ),
    # What is ours to say.
    _replaces("a request id that is kept", "X-Request-Id: abc.DEF_1-9", x_request_id="abc.DEF_1-9"),
    _replaces("a request id too short", "X-Request-Id: short"),
    _replaces("a request id with a blank", "X-Request-Id: with a blank"),
    _replaces("two request ids", "X-Request-Id: first-request-id", "X-Request-Id: second-request-id"),
    _drops("a request id in another spelling", "X_Request_Id: abcdefgh"),
    _replaces("a token's id of the client's own", "X-Token-Id: " + "0" * 32, x_token_id=TOKEN_ID),
    _drops("fields of a token", "X-Token-Name: x", "X-Token-: y", "x_token_id: z", "X.Token.Id: z"),
    _replaces("a way that was gone already", "Via: 1.1 a, 1.0 b", via="1.1 a, 1.0 b, 1.1 zonegate"),
    passes("a field that is nearly Via", ask("Via-X: 1"), seen("Via-X: 1")),
    # Credentials.
    *(
        _drops(f"{line.partition(':')[0]} stays behind", line)
        for line in (
            "X-Auth-Key: k",
            "X-Auth-Email: a@b",
            "X-Auth-User-Service-Key: k",
            "Proxy-Authorization: Basic eDp5",
            "Cookie: session=1",
            "x_auth_key: k",
            "X_Api_Key: k",
            "X.API.Key: k",
            "Proxy_Authorization: Basic eDp5",
            "COOKIE: a=b; c=d",
        )
    ),
    passes("the scheme in capitals", ask(f"Authorization: BEARER {SECRET}", credential=None)),
    passes("the credential's name in small letters", ask(f"authorization: Bearer {SECRET}", credential=None)),
    passes("the token as a key", ask(f"X-API-Key: {SECRET}", target=KEYED, credential=None), seen(target=UP_KEYED)),
    passes("the token as a bearer where it may be a key", ask(target=KEYED), seen(target=UP_KEYED)),
    *(
        refuses(f"a credential that is {name}", ask(*lines, credential=None), 400, 6003, then=None)
        for name, lines in {
            "a bearer twice": (BEARER, BEARER),
            "a bearer and a key": (BEARER, f"X-API-Key: {SECRET}"),
            "of another scheme": ("Authorization: Basic eDp5",),
            "without a scheme": (f"Authorization: {SECRET}",),
            "a bearer that is cut short": (BEARER[:-1],),
            "a list": (f"{BEARER}, Bearer x",),
            "empty": ("Authorization: ",),
        }.items()
    ),
    refuses(
        "a credential in another spelling",
        ask(f"x_api_key: {SECRET}", f"X.Api.Key: {SECRET}", target=KEYED, credential=None),
        401,
        9106,
    ),
    refuses("a credential in the query", ask(target=f"/v1?access_token={SECRET}", credential=None), 401, 9106),
    refuses(
        "a credential that Connection names",
        ask(BEARER, "Connection: Authorization", target="/nowhere", credential=None),
        404,
        7003,
    ),
    # Overrides.
    *(
        _drops(f"{name} stays behind", f"{name}: DELETE")
        for name in (
            "X-HTTP-Method",
            "X-HTTP-Method-Override",
            "X-Method-Override",
            "X-Original-URL",
            "X-Original-Method",
            "X-Original-URI",
            "X-Rewrite-URL",
            "X-Forwarded-Uri",
            "X-Forwarded-Prefix",
            "X-Forwarded-Method",
            "x_http_method_override",
            "X.Original.URL",
            "X-Rewrite_Url",
        )
    ),
    passes(
        "what an upstream lets through",
        ask("Cookie: a=b", "X-Original-URL: /x", "X-HTTP-Method-Override: y", target=KEYED),
        seen("Cookie: a=b", "X-Original-URL: /x", target=UP_KEYED),
    ),
    # Names of zones: DNS knows no case and a final dot, and PowerDNS reads each `=XX`.
    *(
        passes(f"the zone {name}", ask(target=NAMED.format(name)), seen(target=UP_NAMED.format(name)))
        for name in ("alpha.example", "alpha.example.", "ALPHA.example", "aLpHa.ExAmPlE.")
    ),
    *(
        refuses(f"the zone {name}, which is another", ask(target=NAMED.format(name)), 403, 10000)
        for name in (
            "beta.example",
            "BETA.example.",
            "alpha.example=2F",
            "a.alpha.example",
            "example",
            "*.example",
            "alpha",
        )
    ),
    *(
        refuses(f"the zone {name}, which is none", ask(target=NAMED.format(name)), 404, 7003)
        for name in (
            "=61lpha.example",
            "=41LPHA.example",
            "alpha=2eexample",
            "alpha=2Eexample",
            "alpha.example=2f",
            "alpha.example=00",
            "alpha.example=",
            "alpha.example..",
            ".alpha.example",
            "alpha..example",
            "alpha.example;x=1",
            "alpha.example,beta.example",
            f"{'a.' * 127}example",
        )
    ),
    *(
        bad(f"the zone {name}", ask(target=NAMED.format(name)))
        for name in ("%61lpha.example", "alpha%2Eexample", "alpha.example%00", "alpha.example%2e")
    ),
)
