from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from redis.asyncio.connection import parse_url

from gateway.store_url import Cluster, Sentinels, Server, parse_store_url
from gateway.tokens.secret import Sensitive

NOBODY = Sensitive("")


def sentinels(*hosts: tuple[str, int], service: str = "zg", db: int = 0) -> Sentinels:
    return Sentinels(hosts, service, db, "", NOBODY)


def cluster(*nodes: tuple[str, int]) -> Cluster:
    return Cluster(nodes, "", NOBODY)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        pytest.param("redis+sentinel://h:1/zg", sentinels(("h", 1)), id="one sentinel"),
        pytest.param("redis+sentinel://a:1,b:2,c:3/zg", sentinels(("a", 1), ("b", 2), ("c", 3)), id="three sentinels"),
        pytest.param("redis+sentinel://a,b:2/zg", sentinels(("a", 26379), ("b", 2)), id="a sentinel's port"),
        pytest.param("redis+sentinel://h:1/zg/15", sentinels(("h", 1), db=15), id="a database"),
        pytest.param("redis+sentinel://h:1/My-svc_1.x", sentinels(("h", 1), service="My-svc_1.x"), id="any service"),
        pytest.param(
            "redis+sentinel://[::1]:1,[2001:db8::2]/zg", sentinels(("::1", 1), ("2001:db8::2", 26379)), id="IPv6"
        ),
        pytest.param("redis+cluster://h:1", cluster(("h", 1)), id="one node"),
        pytest.param("redis+cluster://h:1/", cluster(("h", 1)), id="one node and a slash"),
        pytest.param("redis+cluster://a,b:65535", cluster(("a", 6379), ("b", 65535)), id="a node's port"),
        pytest.param("redis+cluster://[::1],10.0.0.1:7", cluster(("::1", 6379), ("10.0.0.1", 7)), id="addresses"),
    ],
)
def test_a_url_names_sentinels_or_nodes(url: str, where: object) -> None:
    assert parse_store_url(url) == where


@pytest.mark.parametrize("rest", ["+sentinel://u:p@h:1,[::1]/zg/3", "+cluster://u:p@h:1,[::1]"])
def test_rediss_is_the_same_under_tls(rest: str) -> None:
    plain, under_tls = parse_store_url(f"redis{rest}"), parse_store_url(f"rediss{rest}")
    assert not isinstance(plain, Server)
    assert not plain.tls
    assert under_tls == replace(plain, tls=True)


@pytest.mark.parametrize("rest", [pytest.param("h/zg", id="sentinels"), pytest.param("h", id="cluster")])
@pytest.mark.parametrize(
    ("login", "username", "password"),
    [
        pytest.param("", "", "", id="nobody"),
        pytest.param("user:word@", "user", "word", id="a user"),
        pytest.param(":word@", "", "word", id="a password alone"),
        pytest.param("user@", "user", "", id="a user without a password"),
        pytest.param("a%3Ab:c%40d%2Fe%3f%23f%25@", "a:b", "c@d/e?#f%", id="signs that a URL needs"),
        pytest.param("%C3%BC:%E2%82%AC@", "ü", "€", id="signs that a URL cannot hold"),
        pytest.param("u:a:b@", "u", "a:b", id="a colon in the password"),
        pytest.param("u:a@b@", "u", "a@b", id="an at in the password"),
    ],
)
def test_user_and_password_are_percent_decoded(login: str, username: str, password: str, rest: str) -> None:
    where = parse_store_url(f"redis+{'sentinel' if '/' in rest else 'cluster'}://{login}{rest}")
    assert not isinstance(where, Server)
    assert (where.username, where.password.reveal()) == (username, password)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h/",
        "redis://h:6380/15",
        "redis://user:word@h:1/0",
        "redis://:a%2Fb@[::1]:1/0",
        "redis://h?db=3",
        "rediss://h:6380/0",
        "unix:///run/valkey.sock",
        "unix:///run/valkey.sock?db=3",
        "unix:///run/a b/ü.sock",
        "unix://user:word@/run/valkey.sock",
    ],
)
def test_a_url_of_one_server_is_kept_as_redis_py_takes_it(url: str) -> None:
    assert parse_store_url(url) == Server(url)
    assert set(parse_url(url)) <= {"host", "port", "db", "username", "password", "path", "connection_class"}


@pytest.mark.parametrize(
    "url",
    [
        *(
            pytest.param(f"{scheme}{hosts}{path}", id=f"{scheme}{what}")
            for scheme, path in (("redis+sentinel://", "/zg"), ("redis+cluster://", ""))
            for hosts, what in [
                ("", "no host"),
                (":1", "a port without a host"),
                ("h,", "a comma behind it"),
                (",h", "a comma before it"),
                ("a,,b", "an empty host"),
                ("h:", "a colon without a port"),
                ("h:0", "port 0"),
                ("h:65536", "a port too high"),
                ("h:123456", "six digits"),
                ("h:-1", "a sign"),
                ("h:port", "a word for a port"),
                ("h:\u0661", "another script's digit"),
                ("a b", "a blank"),
                (" h", "a blank before it"),
                ("h\n", "a line end"),
                ("hä", "not ASCII"),
                ("::1", "IPv6 without brackets"),
                ("[::1", "half a bracket"),
                ("[::g]", "no IPv6"),
                ("[1.2.3.4]", "IPv4 in brackets"),
                ("[::1]1", "no colon after the bracket"),
                ("h%41", "an encoded host"),
                ("u:p@", "a user without a host"),
                ("u:a%@h", "half an escape"),
                ("u:a%zz@h", "no escape"),
                ("u:%ff@h", "not UTF-8"),
                ("u:a/b@h", "a slash in a password"),
            ]
        ),
        pytest.param("redis+sentinel://h", id="no service"),
        pytest.param("redis+sentinel://h/", id="an empty service"),
        pytest.param("redis+sentinel://h//0", id="an empty service before a database"),
        pytest.param("redis+sentinel://h/z%67", id="an encoded service"),
        pytest.param("redis+sentinel://h/zg/", id="an empty database"),
        pytest.param("redis+sentinel://h/zg/one", id="a word for a database"),
        pytest.param("redis+sentinel://h/zg/-1", id="a negative database"),
        pytest.param("redis+sentinel://h/zg/12345", id="a database too high"),
        pytest.param("redis+sentinel://h/zg/0/1", id="a path behind the database"),
        pytest.param("redis+sentinel://h/zg?db=1", id="an option of sentinels"),
        pytest.param("redis+sentinel://h/zg?", id="an empty option"),
        pytest.param("redis+sentinel://h/zg#x", id="a fragment behind a service"),
        pytest.param("redis+cluster://h/0", id="a cluster's database"),
        pytest.param("redis+cluster://h?db=0", id="an option of a cluster"),
        pytest.param("redis+cluster://h#x", id="a fragment behind a node"),
        pytest.param("redis://h:port/0", id="a word for a port"),
        pytest.param("redis://h:65536/0", id="a port too high"),
        pytest.param("redis://h:0/0", id="port 0"),
        pytest.param("redis://a:1,b:2/0", id="two servers"),
        pytest.param("redis://[::1/0", id="half a bracket"),
        pytest.param("redis://h/one", id="a word for a database"),
        pytest.param("redis://h/0/1", id="two databases in the path"),
        pytest.param("redis://h/12345", id="a database too high"),
        pytest.param("redis://h/0?db=1", id="a database in path and option"),
        pytest.param("redis://h?db=0&db=1", id="an option twice"),
        pytest.param("redis://h?db=", id="an option without a value"),
        pytest.param("redis://h?db=one", id="an option with a word"),
        pytest.param("redis://h/0?socket_timeout=30", id="another time limit"),
        pytest.param("redis://h/0?socket_timeout", id="an option that is a word"),
        pytest.param("unix:///run/x?retry_on_timeout=true", id="a change sent twice"),
        pytest.param("redis://h/0?db=1&decode_responses=1", id="one option too many"),
        pytest.param("redis://u:a#b@h/0", id="a # in a password"),
        pytest.param("redis://h\t/0", id="a tab that urlsplit leaves out"),
        pytest.param("redis://h/0\n", id="a line end that urlsplit leaves out"),
        pytest.param("redis://h\uff03/0", id="a sign that becomes a #"),
        pytest.param("unix://", id="no path"),
        pytest.param("unix:///", id="an empty path"),
        pytest.param("unix://run/x", id="two slashes"),
        pytest.param("", id="nothing"),
        pytest.param("embedded", id="no URL"),
        pytest.param("http://h", id="another scheme"),
        pytest.param("REDIS://h", id="upper case"),
        pytest.param("redis+sentinel:/h/zg", id="one slash"),
        pytest.param(" redis://h", id="a blank before it"),
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_store_url(url)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("redis://user:hu/sh@h/0", id="a slash"),
        pytest.param("redis://user:hu#sh@h/0", id="a hash"),
        pytest.param("redis://user:hu?sh@h/0", id="a question mark"),
        pytest.param("redis://user:hu[sh@h/0", id="a bracket"),
        pytest.param("redis://user:hu\uff03sh@h/0", id="a sign that becomes another"),
        pytest.param("redis://user:hush@h:hush/0", id="a port"),
        pytest.param("redis+sentinel://user:hu/sh@h/zg", id="a slash, with sentinels"),
        pytest.param("redis+sentinel://user:hu?sh@h/zg", id="a question mark, with sentinels"),
        pytest.param("redis+sentinel://user:hu%sh@h/zg", id="a percent sign, with sentinels"),
        pytest.param("redis+sentinel://user:hu%FFsh@h/zg", id="not UTF-8, with sentinels"),
        pytest.param("redis+cluster://user:hu/sh@h", id="a slash, with a cluster"),
        pytest.param("redis+cluster://user:hush@h,hu sh", id="a blank, with a cluster"),
        pytest.param("hush", id="no URL"),
    ],
)
def test_a_refusal_shows_no_piece_of_a_password(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_store_url(url)
    assert "hu" not in str(caught.value)
    assert "sh@" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("url", ["redis://u:hush@h/0", "redis+sentinel://u:hush@h/zg", "redis+cluster://u:hush@h"])
def test_a_password_is_not_in_the_repr(url: str) -> None:
    assert "hush" not in repr(parse_store_url(url))


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
hosts = st.tuples(
    st.from_regex(r"[A-Za-z0-9._-]{1,9}", fullmatch=True) | st.ip_addresses(v=6).map(str), st.integers(1, 65535)
)


def written(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@given(words, words, st.lists(hosts, min_size=1, max_size=4), st.integers(0, 9999))
def test_what_was_written_is_read(
    username: str, password: str, addresses: list[tuple[str, int]], database: int
) -> None:
    authority = f"{quote(username, safe='')}:{quote(password, safe='')}@" + ",".join(map(written, addresses))
    found = parse_store_url(f"redis+sentinel://{authority}/zg/{database}")
    assert found == Sentinels(tuple(addresses), "zg", database, username, Sensitive(password))
    assert parse_store_url(f"redis+cluster://{authority}") == Cluster(tuple(addresses), username, Sensitive(password))


@given(
    st.sampled_from(["redis://", "rediss://", "unix://", "redis+sentinel://", "redis+cluster://", ""]),
    st.text("ah0:/?#@[],%=&\n .db") | st.text(),
)
def test_whatever_the_url_it_is_a_place_or_a_refusal_and_redis_py_takes_it_too(scheme: str, rest: str) -> None:
    try:
        found = parse_store_url(scheme + rest)
    except ValueError:
        return
    if isinstance(found, Server):
        options = parse_url(found.url)
        assert set(options) <= {"host", "port", "db", "username", "password", "path", "connection_class"}
    else:
        assert all(host and 0 < port < 65536 for host, port in (getattr(found, "nodes", ()) or found.hosts))
