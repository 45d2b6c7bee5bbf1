"""The demo upstream as a process of its own: it listens, says so, ends when told, and with its parent."""

import asyncio
import logging
import os
import signal
import sys
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

HOST: Final = "127.0.0.1"
WRONG_USE: Final = 2
_SHUTDOWN_SECONDS: Final = 2.0
# A gateway may pass on a head of its own full size, and adds fields to it.
_LONGEST_LINE: Final = 1 << 17
_MOST_FIELDS: Final = 256


def serve(app: web.Application, port: int, access_log_class: type[AbstractAccessLogger]) -> int:
    """Serve `app` on 127.0.0.1 until SIGTERM or SIGINT, and give the exit code. Port 0: any free one."""
    return asyncio.run(_serve(app, port, access_log_class))


async def _serve(app: web.Application, port: int, access_log_class: type[AbstractAccessLogger]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        app,
        access_log=logging.getLogger(__name__),
        access_log_class=access_log_class,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        auto_decompress=False,  # a body's length is that of what was sent
        max_line_size=_LONGEST_LINE,
        max_field_size=_LONGEST_LINE,
        max_headers=_MOST_FIELDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        sys.stderr.write(f"demo upstream: cannot listen on {HOST}:{port}: {os.strerror(error.errno or 0)}\n")
        return WRONG_USE
    else:
        sys.stdout.write(f"demo upstream on http://{HOST}:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await stop.wait()
        return 0
    finally:
        await runner.cleanup()
