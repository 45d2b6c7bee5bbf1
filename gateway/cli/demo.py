"""`zonegate demo`: everything at once, on this machine, with lines to paste."""

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from gateway.access.ports import Conflict
from gateway.child_process import end, spawn
from gateway.cli.address import url_of
from gateway.cli.client import Refused, open_api
from gateway.cli.refusal import answered
from gateway.demo.dataset import ZONES
from gateway.settings import Admin, Listen, Log, Settings, Store, Upstream, UpstreamCredential
from gateway.start_error import AddressTaken, StartError
from gateway.store_access import initialise, ready_store
from gateway.telemetry.logs import configure_logs
from gateway.tokens.resource import Scope
from gateway.tokens.secret import Sensitive

_CREDENTIAL: Final = "ZONEGATE_DEMO_CREDENTIAL"
_BASE: Final = "/client/v4"
_APIS: Final = ("cloudflare-dns", "billing")
_NAME: Final = "demo: DNS of alpha.example"


class Kept(msgspec.Struct):
    """The demo's secrets, so that a second start can print its lines again. A gateway in earnest keeps none."""

    first: str
    dns: str = ""


def _settings(data_dir: Path, port: int, admin_port: int, upstream: str, credential: str) -> Settings:
    return Settings(
        listen=Listen(port=port),
        admin=Admin(port=admin_port),
        store=Store(data_dir=str(data_dir)),
        log=Log(access=sys.stderr.isatty()),
        upstreams={
            name: Upstream(
                targets=(upstream,),
                base_path=_BASE,
                credential=UpstreamCredential(value=Sensitive(f"Bearer {credential}")),
            )
            for name in _APIS
        },
    )


@contextlib.contextmanager
def _upstream(credential: str, journal: Path | None) -> Iterator[str]:
    """The demo upstream in a process of its own; gives its URL."""
    arguments = [
        sys.executable,
        "-m",
        "gateway.demo.upstream",
        "--port",
        "0",
        "--credential-env",
        _CREDENTIAL,
    ]
    arguments += ["--journal", str(journal)] if journal else []
    child = spawn(arguments, stdout=subprocess.PIPE, env={**os.environ, _CREDENTIAL: credential})
    try:
        line = child.stdout.readline() if child.stdout else ""
        if not line:
            msg = "the demo upstream ended at once"
            raise StartError(msg)
        yield line.split()[-1]
    finally:
        end(child)
        if child.stdout:
            child.stdout.close()


def _first_token(settings: Settings, kept_file: Path) -> Kept:
    """The first token's secret: out of a new store, or as the last start kept it."""
    try:
        _, secret, _ = initialise(settings)
    except Conflict:
        try:
            return msgspec.json.decode(kept_file.read_bytes(), type=Kept)
        except (OSError, msgspec.MsgspecError):
            msg = f"{kept_file} is gone, and with it the first token: remove {kept_file.parent} to begin anew"
            raise StartError(msg) from None
    kept = Kept(secret.reveal())
    _keep(kept, kept_file)
    return kept


def _keep(kept: Kept, kept_file: Path) -> None:
    fresh = kept_file.with_suffix(".new")
    try:
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(kept))
        fresh.replace(kept_file)
    except OSError as error:
        raise StartError(f"{error.filename or kept_file}: {error.strerror}") from None


async def _dns_token(url: str, kept: Kept) -> str:
    """The secret of a token for one zone: the kept one if it still works, else a new one."""
    if kept.dns:
        async with open_api(url, Sensitive(kept.dns)) as own:
            with contextlib.suppress(Refused):
                await own.verify()
                return kept.dns
    async with open_api(url, Sensitive(kept.first)) as api:
        try:
            group = (await api.permission_groups()).named("DNS Write", Scope.ZONE)
        except Refused:
            msg = "the kept first token is dead (was it rolled?): remove the data directory to begin anew"
            raise StartError(msg) from None
        if group is None:
            raise StartError("the policies have no permission group DNS Write")
        policy = {
            "effect": "allow",
            "permission_groups": [{"id": group.id}],
            "resources": {f"{Scope.ZONE}.{ZONES['alpha.example']}": "*"},
        }
        _, secret = await api.create({"name": _NAME, "policies": [policy]})
        return secret.reveal()


def _lines(url: str, first: str, dns: str) -> str:
    """What to paste, each line with what it gives."""
    token_id = dns.split("_")[1]
    ours, other = ZONES["alpha.example"], ZONES["beta.example"]
    return f"""
Zonegate runs, in front of a demo API with zones, records, accounts and billing. Ctrl-C ends all of it.
Paste into another terminal:

    export API={url}
    export FIRST={first}
    export TOKEN={dns}

    # FIRST may do everything; TOKEN may edit the DNS of alpha.example and nothing else.
    # 200: its own zone's records
    curl -i "$API/zones/{ours}/dns_records" -H "Authorization: Bearer $TOKEN"
    # 403: another zone, and the answer says what is missing
    curl -i "$API/zones/{other}/dns_records" -H "Authorization: Bearer $TOKEN"
    # 200: the token is valid and active
    curl -i "$API/user/tokens/verify" -H "Authorization: Bearer $TOKEN"
    # 200: roll it; the answer is the new secret
    curl -i -X PUT "$API/user/tokens/{token_id}/value" -H "Authorization: Bearer $FIRST" -d '{{}}'
    # 401: the old secret is dead
    curl -i "$API/user/tokens/verify" -H "Authorization: Bearer $TOKEN"
"""


def demo(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where clients come in.")] = 8080,
    admin_port: Annotated[int, typer.Option(min=1, max=65535, help="Where operators come in.")] = 8081,
    data_dir: Annotated[Path, typer.Option(help="Where the embedded store keeps its tokens.")] = Path(".zonegate"),
    journal: Annotated[
        Path | None, typer.Option(help="Have the demo API write each request that reaches it to this file.")
    ] = None,
) -> None:
    """Start a store, a demo API, and the gateway in front of it, with a first token and curl lines to paste.

    A second start finds its tokens again.

    Example: [bold]zonegate demo --port 8090[/bold]
    """
    from gateway.app import serve  # noqa: PLC0415 - no other command has to wait for all of it

    configure_logs("auto", "info" if sys.stderr.isatty() else "warning")
    credential = secrets.token_hex(16)
    kept_file = data_dir / "demo.json"
    with answered(), _upstream(credential, journal) as upstream:
        settings = _settings(data_dir, port, admin_port, upstream, credential)
        with ready_store(settings):
            kept = _first_token(settings, kept_file)
            url = url_of(settings)

            def ready() -> None:
                kept.dns = asyncio.run(_dns_token(url, kept))
                _keep(kept, kept_file)
                typer.echo(_lines(url, kept.first, kept.dns))

            try:
                serve(settings, lambda: settings, ready)
            except AddressTaken as taken:
                raise StartError(f"{taken}; --port and --admin-port choose others") from None
    typer.echo("Zonegate has ended; its tokens are kept in " + json.dumps(str(data_dir)))
