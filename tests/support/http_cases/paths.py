"""The path that is judged is the path that is sent; what has two spellings has none here (RFC 3986 2.3, 3.3)."""

from support.records import ZONE_A

from .words import (
    BEARER,
    DEAD,
    HOST,
    KEYED,
    OTHER_ZONE,
    THINGS,
    UP_KEYED,
    UP_THINGS,
    ask,
    bad,
    passes,
    refuses,
    seen,
)

_ZONE = f"/v1/zones/{ZONE_A}"
_UP_ZONE = f"/up/base/zones/{ZONE_A}"

CASES = (
    passes("the prefix itself", ask(target="/v1"), seen(target="/up/base")),
    passes("a variable of a path", ask(target=f"{THINGS}/a_b-9Z"), seen(target=f"{UP_THINGS}/a_b-9Z")),
    passes("an API without a base path", ask(target=KEYED), seen(target=UP_KEYED)),
    # 400: before any look-up, and before anybody is asked who he is.
    *(
        bad(f"a path with {name}", ask(target=target))
        for name, target in {
            "an empty segment": f"/v1//zones/{ZONE_A}/records",
            "an empty segment at its start": f"//v1/zones/{ZONE_A}/records",
            "an empty segment at its end": f"{THINGS}/",
            "a dot": f"/v1/./zones/{ZONE_A}/records",
            "two dots": f"/v1/zones/{ZONE_A}/x/../records",
            "two dots at its end": f"{THINGS}/..",
            "a dot before a semicolon": f"{THINGS}/.;x",
            "two dots before a semicolon": f"/v1/zones/..;/{ZONE_A}/records",
            "an encoded dot": f"{THINGS}/%2e",
            "two encoded dots": f"/v1/zones/%2e%2e/{ZONE_A}/records",
            "two dots, one encoded": f"/v1/zones/.%2E/{ZONE_A}/records",
            "an encoded slash": f"/v1/zones%2f{ZONE_A}/records",
            "an encoded backslash": f"{THINGS}/x%5Cy",
            "an encoded percent sign": f"{THINGS}/%252e%252e",
            "an encoded NUL": f"{THINGS}/x%00",
            "an encoded line end": f"{THINGS}/x%0d%0aX:%20y",
            "an encoded DEL": f"{THINGS}/x%7f",
            "an encoded letter": f"/v1/zone%73/{ZONE_A}/records",
            "an encoded digit": f"{THINGS}/%30",
            "an encoded hyphen": f"{THINGS}/a%2Db",
            "an encoded tilde": f"{THINGS}/%7e",
            "encoded bytes that are not UTF-8": f"{THINGS}/%ff",
            "an overlong slash": f"{THINGS}/%c0%af",
            "an encoded surrogate": f"{THINGS}/%ed%a0%80",
            "a percent sign alone": f"{THINGS}/%",
            "half a percent sign": f"{THINGS}/%4",
            "a percent sign before no number": f"{THINGS}/%zz",
            "a backslash": f"/v1\\zones\\{ZONE_A}\\records",
            "a fragment": f"{THINGS}#x",
            "an angle bracket": f"{THINGS}/<x>",
            "a quote": f'{THINGS}/"x"',
            "a brace": f"{THINGS}/{{x}}",
            "a bar": f"{THINGS}/a|b",
            "a caret": f"{THINGS}/^",
            "a square bracket": f"{THINGS}/[x]",
            "a byte that is not ASCII": f"{THINGS}/\xe4",
            "a NUL": f"{THINGS}/x\x00",
            "a tab": f"{THINGS}/x\ty",
            "a DEL": f"{THINGS}/x\x7f",
            "a blank": f"{THINGS}/x y",
        }.items()
    ),
    *(
        bad(f"a query with {name}", ask(target=f"{THINGS}?{query}"))
        for name, query in {
            "a fragment": "a=b#c",
            "a control byte": "a=\x01",
            "a tab": "a=\tb",
            "a blank": "a= b",
            "a DEL": "a=\x7f",
            "a byte that is not ASCII": "a=\xe4",
        }.items()
    ),
    *(
        bad(f"a target that is {name}", ask(target=target, method=method))
        for name, method, target in (
            ("an asterisk", "OPTIONS", "*"),
            ("an authority", "GET", "gateway.example:80"),
            ("an authority after CONNECT", "CONNECT", "gateway.example:443"),
            ("a path after CONNECT", "CONNECT", THINGS),
            ("a path after TRACE", "TRACE", THINGS),
            ("no path, but a name", "GET", "records"),
            ("a query", "GET", "?a=b"),
            ("a URL of another scheme", "GET", f"ftp://{HOST}{THINGS}"),
            ("a URL without a scheme", "GET", f"//{HOST}{THINGS}"),
            ("a URL without a host", "GET", f"http://{THINGS}"),
            ("a URL with a user", "GET", f"http://u:p@{HOST}{THINGS}"),
            ("a URL with a bad path", "GET", f"http://{HOST}/v1/../v1"),
            ("a URL with a fragment", "GET", f"http://{HOST}{THINGS}#x"),
        )
    ),
    bad("an empty target", f"GET  HTTP/1.1\r\nHost: {HOST}\r\n{BEARER}\r\n\r\n".encode()),
    bad("a bad path without a credential", ask(target="/v1/../x", credential=None)),
    # Absolute form.
    passes("a URL", ask(target=f"http://{HOST}{THINGS}?a=b"), seen(target=f"{UP_THINGS}?a=b")),
    passes("a URL with its scheme in capitals", ask(target=f"HTTP://{HOST}{THINGS}"), seen(target=UP_THINGS)),
    passes(
        "a URL with a port",
        ask(target=f"http://{HOST}:8080{THINGS}", host=f"{HOST}:8080"),
        seen(target=UP_THINGS, x_forwarded_host=f"{HOST}:8080"),
    ),
    refuses("a URL that is a host and nothing else", ask(target=f"http://{HOST}"), 404, 7003),
    # The query goes up as it came, and takes part in nothing.
    *(
        passes(f"the query {query}", ask(target=f"{THINGS}{query}"), seen(target=f"{UP_THINGS}{query}"))
        for query in (
            "?",
            "??",
            "?a=b&a=c;d",
            "?a=/../%2e%2e//x",
            "?%zz&%&%00&%ff",
            "?a=<b>|{c}[d]^`\"'\\",
            "?token=x&_method=DELETE",
            "?+%20%2B",
        )
    ),
    # 404: no route.
    *(
        refuses(f"a path that is no route: {name}", ask(target=target), 404, 7003)
        for name, target in {
            "the root": "/",
            "another prefix": f"/v2/zones/{ZONE_A}/records",
            "a longer prefix": f"/v1x/zones/{ZONE_A}/records",
            "the prefix in capitals": f"/V1/zones/{ZONE_A}/records",
            "a literal in capitals": f"/v1/zones/{ZONE_A}/Records",
            "an id in capitals": f"/v1/zones/{ZONE_A.upper()}/records",
            "an id too short": f"/v1/zones/{ZONE_A[1:]}/records",
            "an id with a parameter": f"/v1/zones/{ZONE_A};x=1/records",
            "an id with a final dot": f"/v1/zones/{ZONE_A}./records",
            "a literal with a parameter": f"{THINGS};x=1",
            "encoded UTF-8": f"{THINGS}/%C3%A4",
            "an encoded blank": f"{THINGS}/a%20b",
            "a path of the upstream": UP_THINGS,
            "what a sub-delimiter stands in": f"{THINGS}/a,b",
        }.items()
    ),
    refuses("a zone that is another's", ask(target=OTHER_ZONE), 403, 10000),
    refuses("an upstream that is not there", ask(target=DEAD), 502, 10502),
    # Without a credential all paths are alike.
    *(
        refuses(f"no credential for {name}", ask(target=target, credential=None), 401, 9106)
        for name, target in {
            "a route": THINGS,
            "no route": "/nowhere",
            "another's zone": OTHER_ZONE,
            "a path of the token API": "/client/v4/user/tokens/verify",
        }.items()
    ),
    passes(
        "a path of 60 KB",
        ask(target=f"{THINGS}?{'x' * 60_000}"),
        seen(target=f"{UP_THINGS}?{'x' * 60_000}"),
    ),
    bad("a path of 70 KB", ask(target=f"{THINGS}?{'x' * 70_000}"), 431, 10431),
)
