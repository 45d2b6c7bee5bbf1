"""The demo upstream's application, and its process.

    python -m gateway.demo.upstream --port N --credential-env NAME [--journal FILE] [--more-zones N]

The credential comes out of the environment variable NAME: everybody on the machine can read a command line.
"""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from gateway.child_process import die_with_parent
from gateway.demo import process
from gateway.demo.arrival import arrival, unreadable_log
from gateway.demo.dataset import ACCOUNTS, RECORDS, USER, ZONES, Dataset
from gateway.demo.endpoints import DATASET, ROUTES
from gateway.demo.envelope import refusal
from gateway.demo.fault import Fault, Rejected
from gateway.demo.journal import Entry, Journal

__all__ = ["ACCOUNTS", "BASE", "RECORDS", "USER", "ZONES", "Entry", "Journal", "main", "make_upstream"]

BASE: Final = "/client/v4"
_MOST_ZONES: Final = 2_000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_upstream(credential: str, *, journal: Journal | None = None, more_zones: int = 0) -> web.Application:
    """An application with fresh data, which demands `credential` and records in `journal` what arrives.

    `more_zones`: see `Dataset`.
    """
    if not credential:
        msg = "the demo upstream needs a credential"
        raise ValueError(msg)
    app = web.Application(middlewares=[arrival(credential, journal), _rejections])
    api = web.Application()
    api[DATASET] = Dataset(more_zones)
    api.add_routes(ROUTES)
    app.add_subapp(BASE, api)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a process; the exit code: 0 after a signal, 2 for wrong use or a port that is taken."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.upstream")
    add = parser.add_argument
    add("--port", type=_port, required=True, metavar="N", help="on 127.0.0.1; 0 = any free one")
    add("--credential-env", required=True, metavar="NAME", help="the environment variable that holds it")
    add("--journal", type=Path, metavar="FILE", help="append each request as a line of JSON")
    add("--more-zones", type=_count, default=0, metavar="N", help="so many zones beside the three")
    options = parser.parse_args(arguments)
    die_with_parent()
    credential = os.environ.get(options.credential_env, "")
    if not credential:
        sys.stderr.write(f"demo upstream: environment variable {options.credential_env} is empty\n")
        return process.WRONG_USE
    try:
        journal = Journal(options.journal)
    except OSError as error:
        sys.stderr.write(f"demo upstream: cannot write {options.journal}: {error.strerror}\n")
        return process.WRONG_USE
    upstream = make_upstream(credential, journal=journal, more_zones=options.more_zones)
    return process.serve(upstream, options.port, unreadable_log(journal))


def _port(text: str) -> int:
    port = int(text)
    if port not in range(65536):
        msg = "not a port"
        raise argparse.ArgumentTypeError(msg)
    return port


def _count(text: str) -> int:
    count = int(text)
    if count not in range(_MOST_ZONES + 1):
        msg = f"not a number from 0 to {_MOST_ZONES}"
        raise argparse.ArgumentTypeError(msg)
    return count


@web.middleware
async def _rejections(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Rejected as rejected:
        return refusal(rejected)
    except msgspec.ValidationError as error:
        return refusal(Rejected(Fault.INVALID_BODY, detail=error))
    except msgspec.DecodeError:
        return refusal(Rejected(Fault.MALFORMED_JSON))
    except web.HTTPNotFound:
        return refusal(Rejected(Fault.NO_ROUTE, path=request.rel_url.raw_path.removeprefix(BASE)))
    except web.HTTPMethodNotAllowed as error:
        response = refusal(Rejected(Fault.NO_METHOD, method=request.method))
        response.headers["Allow"] = error.headers["Allow"]
        return response


if __name__ == "__main__":
    sys.exit(main())
