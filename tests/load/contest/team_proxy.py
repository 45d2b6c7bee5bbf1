"""A proxy as a team would write it in a week: FastAPI and httpx, a token looked up in Redis for each request.

It does less than the gateway: one zone a token, no addresses, no groups, no limits. uvicorn runs it, with uvloop and
httptools where they are installed, and its access log on.
"""

import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from redis.asyncio import Redis
from starlette.background import BackgroundTask

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"}
NOT_PASSED = HOP_BY_HOP | {"host", "authorization", "x-token-id"}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with (
        httpx.AsyncClient(base_url=os.environ["UPSTREAM"], timeout=60) as client,
        Redis.from_url(os.environ["STORE"], decode_responses=True) as store,
    ):
        app.state.client, app.state.store = client, store
        yield


app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)


@dataclass
class Token:
    id: str
    rights: frozenset[str]


async def authenticate(request: Request) -> Token:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HTTPException(401, "no token")
    key = b"team:" + hashlib.sha256(secret.encode()).digest()
    fields = ["id", "status", "not_before", "expires_on", "rights"]
    token_id, status, not_before, expires_on, rights = await request.app.state.store.hmget(key, fields)
    if status != "active" or not int(not_before) <= time.time() < int(expires_on):
        raise HTTPException(401, "unknown, expired or disabled token")
    return Token(token_id, frozenset(rights.split()))


@app.api_route("/client/v4/zones/{zone}/dns_records", methods=METHODS)
@app.api_route("/client/v4/zones/{zone}/dns_records/{record}", methods=METHODS)
async def forward(zone: str, request: Request, token: Annotated[Token, Depends(authenticate)]) -> StreamingResponse:
    wanted = {f"write@{zone}"} | ({f"read@{zone}"} if request.method == "GET" else set())
    if not wanted & token.rights:
        raise HTTPException(403, "not on this zone")
    headers = {name: value for name, value in request.headers.items() if name not in NOT_PASSED}
    headers |= {"authorization": os.environ["UPSTREAM_CREDENTIAL"], "x-token-id": token.id}
    headers |= {"x-forwarded-for": request.client.host if request.client else "", "via": "1.1 team"}
    client: httpx.AsyncClient = request.app.state.client
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    answer = await client.send(
        client.build_request(
            request.method,
            httpx.URL(path=request.url.path, query=request.url.query.encode()),
            headers=headers,
            content=request.stream() if has_body else None,
        ),
        stream=True,
    )
    return StreamingResponse(
        answer.aiter_raw(),
        answer.status_code,
        {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP},
        background=BackgroundTask(answer.aclose),
    )
