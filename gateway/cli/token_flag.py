"""The flags of the commands for tokens: how each is typed, and what they say together."""

import re
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from gateway.cli.failure import fail
from gateway.cli.moment import FORMS
from gateway.cli.printable import printable
from gateway.cli.rate import FORMS as RATE_FORMS

_RIGHTS: Final = "What it may do"
_RESOURCES: Final = "On what"
LIMITS_PANEL: Final = "From where, when, and how often"
_TOKEN_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_ACCOUNT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def token_id(value: str) -> str:
    """`value`, if it is the id of a token; else the command ends."""
    if not _TOKEN_ID.fullmatch(value):
        fail(f"'{printable(value)}': not a token's id: 32 lower-case hex digits, as `zonegate token list` shows them")
    return value


ACCOUNT_OWNED: Final = "account_owned"
"""Where a command's context says whose tokens it is about, if they are an account's."""


def account_id(value: str | None) -> str | None:
    """`value`, if it may be the id of an account; else the command ends."""
    if value is not None and not _ACCOUNT_ID.fullmatch(value):
        fail(f"--account-owned '{printable(value)}': not an account's id: 1 to 64 of A-Z a-z 0-9 _ -")
    return value


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Settings; else ./zonegate.toml, else /etc/zonegate/zonegate.toml.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
TokenId = Annotated[str, typer.Argument(metavar="ID", help="The token's id: 32 hex digits.", callback=token_id)]

Name = Annotated[str | None, typer.Option(metavar="NAME", help="Its name, for people; else the template's.")]
TemplateName = Annotated[
    str | None,
    typer.Option(
        "--template", metavar="NAME", help="A ready-made set of permissions, by name.", rich_help_panel=_RIGHTS
    ),
]
Permission = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A permission by name, such as 'DNS Write', or id:<32 hex>; may be repeated.",
        rich_help_panel=_RIGHTS,
    ),
]
Zone = Annotated[
    list[str] | None,
    typer.Option(metavar="ZONE", help="A zone, by id or name; may be repeated.", rich_help_panel=_RESOURCES),
]
AllZones = Annotated[
    bool,
    typer.Option("--all-zones", help="All zones; with --account, all of that account.", rich_help_panel=_RESOURCES),
]
Account = Annotated[
    list[str] | None, typer.Option(metavar="ID", help="An account, by id; may be repeated.", rich_help_panel=_RESOURCES)
]
AllAccounts = Annotated[bool, typer.Option("--all-accounts", help="All accounts.", rich_help_panel=_RESOURCES)]
ExceptZone = Annotated[
    list[str] | None, typer.Option(metavar="ZONE", help="Not this zone; may be repeated.", rich_help_panel=_RESOURCES)
]
User = Annotated[
    bool, typer.Option("--user", help="The user whom your own token belongs to.", rich_help_panel=_RESOURCES)
]
Api = Annotated[
    list[str] | None,
    typer.Option(
        "--api",
        metavar="NAME",
        help="Only with this API, such as powerdns; may be repeated.",
        rich_help_panel=_RESOURCES,
    ),
]
Ip = Annotated[
    list[str] | None,
    typer.Option(metavar="CIDR", help="Works only from here; may be repeated.", rich_help_panel=LIMITS_PANEL),
]
NotIp = Annotated[
    list[str] | None,
    typer.Option(metavar="CIDR", help="Never works from here; may be repeated.", rich_help_panel=LIMITS_PANEL),
]
NotBefore = Annotated[
    str | None, typer.Option(metavar="MOMENT", help=f"Works from then on: {FORMS}.", rich_help_panel=LIMITS_PANEL)
]
Expires = Annotated[
    str | None, typer.Option(metavar="MOMENT", help="Works until then; as --not-before.", rich_help_panel=LIMITS_PANEL)
]
Limit = Annotated[
    str | None,
    typer.Option(
        metavar="RATE", help=f"At most so many requests in so long a time: {RATE_FORMS}.", rich_help_panel=LIMITS_PANEL
    ),
]


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What the flags say of a token, as typed; nothing is checked yet."""

    name: str | None = None
    template: str | None = None
    permission: tuple[str, ...] = ()
    zone: tuple[str, ...] = ()
    all_zones: bool = False
    account: tuple[str, ...] = ()
    all_accounts: bool = False
    except_zone: tuple[str, ...] = ()
    user: bool = False
    api: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()
    not_ip: tuple[str, ...] = ()
    no_ip: bool = False
    not_before: str | None = None
    expires: str | None = None
    no_expiry: bool = False
    limit: str | None = None
    no_limit: bool = False

    @property
    def of_policies(self) -> bool:
        """Whether a flag says something of permissions or resources."""
        return any(
            (
                self.template is not None,
                self.permission,
                self.zone,
                self.all_zones,
                self.account,
                self.all_accounts,
                self.except_zone,
                self.user,
                self.api,
            )
        )


class WrongUse(Exception):  # noqa: N818 - it is said to a person, not to a programmer
    """The flags make no token. One line that names the flag."""


def flags(**said: Any) -> Flags:  # noqa: ANN401 - typer's values, checked by the struct's fields
    """The flags as typer gave them: a repeatable one that is not there is None to it.

    Ends the command on text that is not UTF-8, which no JSON could carry.
    """
    for key, value in said.items():
        for text in (value,) if isinstance(value, str) else value if isinstance(value, list) else ():
            if not _is_utf8(text):
                fail(f"--{key.replace('_', '-')} '{printable(text)}': not UTF-8")
    return msgspec.convert({key: value for key, value in said.items() if value is not None}, Flags)


def _is_utf8(text: str) -> bool:
    # Python hands on bytes of the command line that are not UTF-8 as lone surrogates.
    return not any("\ud800" <= character <= "\udfff" for character in text)
