"""Who asks the token API, and what he has to know before he can."""

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import typer

from gateway.catalog.template import Template
from gateway.cli.address import parse_token, parse_url, url_of
from gateway.cli.client import TokenApiClient, talk
from gateway.cli.failure import say
from gateway.cli.policy_draft import Facts, find_template, needs_user
from gateway.cli.token_flag import ACCOUNT_OWNED, Flags, WrongUse
from gateway.policy_files import build_catalog
from gateway.settings import Settings, environment, load_settings
from gateway.tokens.secret import Sensitive

Talked = TypeVar("Talked")


class Caller(msgspec.Struct, frozen=True):
    """Who asks, and whom."""

    url: str
    secret: Sensitive
    account: str | None = None
    """Its tokens are asked about; else those of the secret's own user."""

    def talk(self, conversation: Callable[[TokenApiClient], Awaitable[Talked]]) -> Talked:
        """What `conversation` with the token API comes to. Raises Refused, NoAnswer."""
        return talk(self.url, self.secret, conversation, self.account)


def settings_of(context: typer.Context, config: Path | None) -> Settings:
    """The settings; `--config` may stand before or behind the command. Raises SettingsError."""
    return load_settings(config or context.find_root().obj, environment())


def caller_of(context: typer.Context, config: Path | None) -> Caller:
    """From the environment; the settings are read only if they are needed. Raises BadAddress, SettingsError."""
    variables = environment()
    secret = parse_token(variables.get("ZONEGATE_TOKEN"))
    url = variables.get("ZONEGATE_URL")
    account = context.meta.get(ACCOUNT_OWNED)
    return Caller(parse_url(url) if url else url_of(settings_of(context, config)), secret, account)


def template_of(context: typer.Context, config: Path | None, name: str | None) -> Template | None:
    """The template that `--template` names. Raises WrongUse, CatalogError, SettingsError."""
    if name is None:
        return None
    return find_template(name, build_catalog(settings_of(context, config)).templates)


async def facts_of(api: TokenApiClient, said: Flags, template: Template | None) -> Facts:
    """What `said` is read by; the caller's user is asked for only if the policies name it."""
    groups = await api.permission_groups()
    user_id = await api.own_user() if needs_user(said, template) else None
    return Facts(groups=groups, template=template, user_id=user_id, zone_ids=await zone_ids_of(api, said))


async def zone_ids_of(api: TokenApiClient, said: Flags) -> dict[str, str]:
    """Ids of the zones that `said` names by their DNS names, where the list at `/zones` knows them. Raises WrongUse.

    With `--api` a name stays what it is, for nobody knows whose list that is; and so it does with a dot at its end.
    """
    found: dict[str, str] = {}
    if said.api:
        return found
    for name in dict.fromkeys((*said.zone, *said.except_zone)):
        if "." not in name.strip(".") or name.endswith("."):
            continue
        match await api.zones_named(name):
            case None:
                pass  # nobody can say
            case []:
                said_of = f"--zone {name!r}: no zone of that name is in the list of zones"
                say(f"{said_of}; it stands as a name, as for PowerDNS")
            case [zone_id]:
                found[name] = zone_id
            case ids:
                msg = f"--zone {name!r}: {len(ids)} zones have that name: say which by its id: {', '.join(ids)}"
                raise WrongUse(msg)
    return found


def new_id() -> str:
    """An id for a policy in a body that is only checked: the gateway gives its own."""
    return secrets.token_hex(16)
