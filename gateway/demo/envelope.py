"""The v4 envelope, in which every answer but a zone file comes."""

import msgspec
from aiohttp import web

from gateway.demo.fault import Rejected
from gateway.demo.listing import ResultInfo


def answer(result: object, info: ResultInfo | None = None) -> web.Response:
    """A yes: `result`, with `info` where it is one page of a list."""
    body = {"result": result, "success": True, "errors": [], "messages": []}
    return _json(200, body if info is None else {**body, "result_info": info})


def refusal(rejected: Rejected) -> web.Response:
    """A no: one error, no result."""
    error = {"code": rejected.code, "message": rejected.message}
    return _json(rejected.status, {"result": None, "success": False, "errors": [error], "messages": []})


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
