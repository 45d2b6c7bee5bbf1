import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.processes import free_port
from support.records import USER, ZONE_A, zone

from gateway.cli.answer import OwnerName
from gateway.cli.client import NoAnswer, Refused, TokenApiClient, open_api, talk
from gateway.tokens.resource import Scope
from gateway.tokens.secret import Sensitive

SECRET = Sensitive("zgt_secret")
POLICY = {"effect": "allow", "permission_groups": [{"id": "3" * 32}], "resources": {zone(ZONE_A): "*"}}


def token(token_id: str = "1" * 32, **fields: object) -> dict[str, Any]:
    return {"id": token_id, "name": "x", "status": "active", "policies": [POLICY], "later": 1} | fields


class Server:
    """A token API that answers what `answers` holds, one after the other, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[web.StreamResponse] = []
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(await request.read())
        return self.answers.pop(0)

    def answer(self, result: object = None, status: int = 200, etag: str | None = None, **envelope: object) -> None:
        body = {"success": True, "errors": [], "messages": [], "result": result} | envelope
        headers = {"ETag": etag} if etag else {}
        self.answers.append(web.json_response(body, status=status, headers=headers))


@pytest.fixture
async def server(aiohttp_server: Callable[..., Awaitable[TestServer]]) -> Server:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    server.url = str((await aiohttp_server(app)).make_url("/v4"))
    return server


@pytest.fixture
async def api(server: Server) -> AsyncIterator[TokenApiClient]:
    async with open_api(server.url, SECRET, deadline=5) as api:
        yield api


@pytest.mark.parametrize(
    ("zones", "status", "ids"),
    [
        pytest.param([{"id": ZONE_A, "name": "alpha.example"}], 200, [ZONE_A], id="one"),
        pytest.param([], 200, [], id="none"),
        pytest.param([{"id": ZONE_A, "name": "sub.alpha.example"}], 200, [], id="a list that does not filter"),
        pytest.param(None, 403, None, id="a caller who may not list them"),
        pytest.param("zones", 200, None, id="a list that is none"),
    ],
)
async def test_a_zone_is_found_by_its_name_where_there_is_a_list(
    api: TokenApiClient, server: Server, zones: object, status: int, ids: list[str] | None
) -> None:
    server.answer(zones, status, success=status == 200)
    assert await api.zones_named("alpha.example") == ids
    assert server.asked[0].path_qs == "/v4/zones?name=alpha.example"


async def test_a_question_carries_the_secret_and_asks_for_a_body_as_it_is(api: TokenApiClient, server: Server) -> None:
    server.answer(token(), etag='"tag"')
    answer = await api.token("1" * 32)
    [asked] = server.asked
    assert (asked.method, asked.path) == ("GET", f"/v4/user/tokens/{'1' * 32}")
    assert asked.headers["Authorization"] == "Bearer zgt_secret"
    assert asked.headers["Accept-Encoding"] == "identity"
    assert (answer.raw, answer.etag, answer.token.name) == (token(), '"tag"', "x")


async def test_a_change_goes_with_the_etag_that_was_read(api: TokenApiClient, server: Server) -> None:
    server.answer(token(name="y"), etag='"new"')
    answer = await api.replace("1" * 32, {"name": "y"}, '"old"')
    [asked] = server.asked
    assert (asked.method, asked.headers["If-Match"], server.bodies) == ("PUT", '"old"', [b'{"name":"y"}'])
    assert asked.headers["Content-Type"] == "application/json"
    assert (answer.token.name, answer.etag) == ("y", '"new"')


async def test_what_is_made_comes_with_its_secret(api: TokenApiClient, server: Server) -> None:
    server.answer(token(value="zgt_new"))
    answer, secret = await api.create({"name": "x"})
    assert (answer.token.id, secret) == ("1" * 32, Sensitive("zgt_new"))
    assert (server.asked[0].method, server.asked[0].path) == ("POST", "/v4/user/tokens")


async def test_a_roll_gives_the_new_secret(api: TokenApiClient, server: Server) -> None:
    server.answer("zgt_new")
    assert await api.roll("1" * 32) == Sensitive("zgt_new")
    assert (server.asked[0].method, server.asked[0].path) == ("PUT", f"/v4/user/tokens/{'1' * 32}/value")
    assert server.bodies == [b"{}"]


async def test_a_delete_gives_the_id(api: TokenApiClient, server: Server) -> None:
    server.answer({"id": "1" * 32})
    assert await api.delete("1" * 32) == {"id": "1" * 32}
    assert server.asked[0].method == "DELETE"


async def test_a_roll_may_leave_the_old_secret_alive_for_a_while(api: TokenApiClient, server: Server) -> None:
    server.answer("zgt_new")
    await api.roll("1" * 32, 60)
    assert server.bodies == [b'{"overlap":60}']


async def test_a_cascade_is_asked_for_in_the_query(api: TokenApiClient, server: Server) -> None:
    server.answer({"id": "1" * 32, "revoked": []})
    assert await api.delete("1" * 32, cascade=True) == {"id": "1" * 32, "revoked": []}
    assert server.asked[0].path_qs == f"/v4/user/tokens/{'1' * 32}?cascade=true"


OWNER = {"id": "o", "kind": "user", "name": "x", "status": "active", "policies": []}


@pytest.mark.parametrize(
    ("kind", "query"), [pytest.param(None, "", id="the only one"), pytest.param("account", "?kind=account", id="kind")]
)
async def test_an_owner_is_asked_for_by_its_id_and_kind(
    api: TokenApiClient, server: Server, kind: str | None, query: str
) -> None:
    server.answer(OWNER, etag='"tag"')
    answer = await api.owner(OwnerName("o", kind))
    assert (answer.raw, answer.etag, answer.owner.name) == (OWNER, '"tag"', "x")
    assert server.asked[0].path_qs == f"/v4/zonegate/owners/o{query}"


async def test_a_change_of_an_owner_goes_with_the_etag_that_was_read(api: TokenApiClient, server: Server) -> None:
    server.answer(OWNER, etag='"new"')
    answer = await api.replace_owner(OwnerName("o", None), {"name": "y"}, '"old"')
    assert (server.asked[0].method, server.asked[0].headers["If-Match"]) == ("PUT", '"old"')
    assert answer.etag == '"new"'


async def test_a_new_owner_comes_with_its_first_token_s_secret(api: TokenApiClient, server: Server) -> None:
    server.answer(token(value="zgt_new"))
    answer, secret = await api.create_owner({"name": "x"})
    assert (answer.token.id, secret) == ("1" * 32, Sensitive("zgt_new"))
    server.answer(token())
    with pytest.raises(NoAnswer):
        await api.create_owner({"name": "x"})


async def test_owners_of_one_id_and_two_kinds_are_both_listed(api: TokenApiClient, server: Server) -> None:
    server.answer([OWNER, OWNER | {"kind": "account"}], result_info={"total_pages": 1})
    assert [each.owner.kind for each in await api.owners()] == ["user", "account"]


async def test_a_deleted_owner_and_a_zone_are_what_the_api_says(api: TokenApiClient, server: Server) -> None:
    server.answer({"id": "o", "kind": "user", "tokens": 1})
    assert (await api.delete_owner(OwnerName("o", "user")))["tokens"] == 1
    server.answer({"id": "a.example.", "api": "powerdns"})
    await api.zone("PUT", "powerdns", "0=2F25.a.example", {"account": "c"})
    assert (server.asked[1].method, server.asked[1].path) == ("PUT", "/v4/zonegate/zones/powerdns/0=2F25.a.example")
    assert server.bodies[1] == b'{"account":"c"}'


async def test_verify_gives_result_and_messages(api: TokenApiClient, server: Server) -> None:
    server.answer({"id": "1", "status": "active"}, messages=[{"code": 10000, "message": "valid", "type": None}])
    verified = await api.verify()
    assert (verified.raw, verified.messages) == ({"id": "1", "status": "active"}, ("valid",))


async def test_a_page_of_the_audit_comes_as_it_is_and_as_it_is_read(api: TokenApiClient, server: Server) -> None:
    entry = {"id": "1-1", "action": {"type": "roll", "result": True, "later": 1}, "newValueJson": {"name": "x"}}
    server.answer([entry], result_info={"count": 1, "cursor": "1-1", "newest": "9-9"})
    server.answer([])
    first, last = [await api.audit(direction="asc", per_page=7) for _ in range(2)]
    assert (first.raw, first.cursor, first.newest) == ((entry,), "1-1", "9-9")
    assert [(each.action.type, each.after) for each in first.entries] == [("roll", {"name": "x"})]
    assert (last.entries, last.cursor, last.newest) == ((), None, None)
    assert (server.asked[0].method, server.asked[0].path) == ("GET", "/v4/zonegate/audit")
    assert dict(server.asked[0].query) == {"direction": "asc", "per_page": "7"}


async def test_an_audit_of_another_shape_is_not_the_token_api_s(api: TokenApiClient, server: Server) -> None:
    server.answer([{"id": "1-1"}])
    with pytest.raises(NoAnswer, match="not the token API"):
        await api.audit()


async def test_every_page_is_walked_expired_tokens_too(api: TokenApiClient, server: Server) -> None:
    for page in range(1, 4):
        server.answer([token(f"{page}{item}") for item in range(2)], result_info={"page": page, "total_pages": 3})
    assert [answer.token.id for answer in await api.tokens()] == ["10", "11", "20", "21", "30", "31"]
    queries = [dict(asked.query) for asked in server.asked]
    same = {"per_page": "50", "direction": "asc", "include_expired": "true"}
    assert queries == [same | {"page": str(page)} for page in (1, 2, 3)]


async def test_a_token_that_moves_to_the_next_page_is_named_once(api: TokenApiClient, server: Server) -> None:
    server.answer([token("1"), token("2")], result_info={"total_pages": 2})
    server.answer([token("2"), token("3")], result_info={"total_pages": 2})
    assert [answer.token.id for answer in await api.tokens()] == ["1", "2", "3"]


async def test_a_server_that_knows_no_pages_is_asked_no_further(api: TokenApiClient, server: Server) -> None:
    for _ in range(2):
        server.answer([token("1")], result_info={"total_pages": 10**9})
    assert [answer.token.id for answer in await api.tokens()] == ["1"]
    assert len(server.asked) == 2


async def test_a_list_without_page_numbers_is_the_whole_list(api: TokenApiClient, server: Server) -> None:
    server.answer([token("1")])
    assert len(await api.tokens()) == 1


async def test_scopes_that_are_not_known_are_left_out(api: TokenApiClient, server: Server) -> None:
    server.answer([{"id": "1", "name": "DNS Read", "scopes": [Scope.ZONE.value, "com.example.later"], "category": "x"}])
    groups = await api.permission_groups()
    group = groups.named("DNS Read", Scope.ZONE)
    assert group is not None
    assert group.scopes == (Scope.ZONE,)


@pytest.mark.parametrize(
    ("owner", "user_id"),
    [({"kind": "user", "id": USER}, USER), ({"kind": "account", "id": USER}, None), (None, None)],
)
async def test_the_callers_user_is_the_owner_of_its_token(
    api: TokenApiClient, server: Server, owner: object, user_id: str | None
) -> None:
    server.answer({"id": "1" * 32, "status": "active"})
    server.answer(token(owner=owner))
    assert await api.own_user() == user_id
    assert server.asked[1].path == f"/v4/user/tokens/{'1' * 32}"


async def test_a_refusal_has_all_that_was_said(api: TokenApiClient, server: Server) -> None:
    error = {"code": 10400, "message": "unknown field", "source": {"pointer": "/x"}}
    server.answer(None, 400, success=False, errors=[error], messages=[{"code": 1, "message": "note"}])
    with pytest.raises(Refused) as refused:
        await api.create({})
    assert refused.value.status == 400
    assert [(note.code, note.message, note.source and note.source.pointer) for note in refused.value.errors] == [
        (10400, "unknown field", "/x")
    ]
    assert [note.message for note in refused.value.messages] == ["note"]


async def test_success_with_a_status_of_failure_is_a_refusal(api: TokenApiClient, server: Server) -> None:
    server.answer(token(), 500)
    with pytest.raises(Refused):
        await api.token("1" * 32)


DEEP = b'{"success": true, "result": ' + b"[" * 100_000


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param(b"<html>nginx</html>", 502, id="a page of a proxy"),
        pytest.param(b"", 200, id="nothing"),
        pytest.param(b'{"hello": "world"}', 200, id="another API's JSON"),
        pytest.param(b'{"success": true, "errors": "none"}', 200, id="errors of another shape"),
        pytest.param(b"\xff\xfe", 200, id="not UTF-8"),
        pytest.param(DEEP, 200, id="JSON without a bottom"),
        pytest.param(b'{"success": true, "result": ["x"]}', 200, id="a result of another shape"),
        pytest.param(b'{"success": true, "result": {"id": 1}}', 200, id="a token of another shape"),
    ],
)
async def test_what_is_not_the_token_api_is_one_line_with_url_and_remedy(
    api: TokenApiClient, server: Server, content: bytes, status: int
) -> None:
    server.answers.append(web.Response(body=content, status=status))
    with pytest.raises(NoAnswer) as no_answer:
        await api.token("1" * 32)
    line = str(no_answer.value)
    assert line.startswith(f"{server.url}: what answers there is not the token API")
    assert "ZONEGATE_URL" in line
    assert "\n" not in line
    assert "nginx" not in line


async def test_a_token_without_its_value_is_no_new_token(api: TokenApiClient, server: Server) -> None:
    server.answer(token())
    with pytest.raises(NoAnswer, match="a token without its value"):
        await api.create({})


async def test_a_redirect_is_not_followed(api: TokenApiClient, server: Server) -> None:
    server.answers.append(web.Response(status=307, headers={"Location": "/elsewhere"}))
    with pytest.raises(NoAnswer, match="status 307"):
        await api.token("1" * 32)
    assert len(server.asked) == 1


async def test_nobody_listening_is_one_line_with_url_and_remedy() -> None:
    url = f"http://127.0.0.1:{free_port()}/client/v4"
    async with open_api(url, SECRET) as api:
        with pytest.raises(NoAnswer) as no_answer:
            await api.verify()
    assert str(no_answer.value) == (
        f"{url}: no connection (Connection refused): start the gateway with zonegate serve, or set ZONEGATE_URL"
    )


async def test_a_server_without_tls_is_no_https_server(server: Server) -> None:
    async with open_api(server.url.replace("http:", "https:"), SECRET) as api:
        with pytest.raises(NoAnswer, match="no TLS to agree on"):
            await api.verify()


@pytest.fixture
async def mute() -> AsyncIterator[str]:
    """The URL of a server that takes the request, and says nothing until the client is gone."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v4"


async def test_no_answer_in_time_is_one_line(mute: str) -> None:
    async with open_api(mute, SECRET, deadline=0.05) as api:
        with pytest.raises(NoAnswer, match=r"no answer within 0\.05 s: see whether"):
            await api.verify()


async def test_a_change_without_an_answer_has_an_unknown_outcome(mute: str) -> None:
    async with open_api(mute, SECRET, deadline=0.05) as api:
        with pytest.raises(NoAnswer, match="whether it was done is unknown: look before you repeat it"):
            await api.roll("1" * 32)


async def test_a_connection_that_breaks_off_is_not_tried_again(aiohttp_server: Callable[..., Any]) -> None:
    asked = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    url = str((await aiohttp_server(app)).make_url("/v4"))
    async with open_api(url, SECRET) as api:
        with pytest.raises(NoAnswer, match="broke off; whether it was done is unknown"):
            await api.create({})
    assert len(asked) == 1


def test_a_conversation_has_a_loop_of_its_own() -> None:
    async def conversation(api: TokenApiClient) -> str:
        return type(api).__name__

    assert talk("http://127.0.0.1:1", SECRET, conversation) == "TokenApiClient"
