"""Zonegate: a gateway that puts scoped API tokens in front of an API that has one all-powerful credential.

A request goes through the packages in this order: `server` accepts it and reads its head, `tokens` reads the
credential, `store` finds the token, `access` decides, `proxy` forwards (it takes an `Allow` and nothing else),
`telemetry` looks on. `catalog` is what `policies/` says, `admin` is the token API, `cli` the command. `app.py` is
the only place where all of them meet; the arrows between them are a contract in `pyproject.toml`.
"""

from importlib.metadata import version

__version__ = version("zonegate")
