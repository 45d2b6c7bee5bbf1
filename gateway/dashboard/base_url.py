"""Where clients find the token API: what the pages show to be pasted."""

from typing import Final

from gateway.settings import Settings, in_url

_ANY: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - nothing is bound here


def base_url(settings: Settings, asked: str) -> str:
    """The public listener's base URL; the admin listener's where the token API is not on the public one, or that has no
    port. `asked`: the Host by which the dashboard was asked, which also names a listener on all addresses.
    """
    listen = settings.listen
    if listen.port == 0 or not listen.token_api:
        return f"http{'s' if settings.admin.tls.cert else ''}://{asked}{listen.prefix}"
    host = _name(asked) if listen.host in _ANY else in_url(listen.host)
    return f"http{'s' if listen.tls.cert else ''}://{host}:{listen.port}{listen.prefix}"


def _name(authority: str) -> str:
    """The host of `authority`, without its port."""
    name, colon, port = authority.rpartition(":")
    return name if colon and port.isdigit() else authority
