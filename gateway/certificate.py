"""A certificate of our own with its key: what a listener shows to clients, and the gateway to an upstream."""

import ssl
from pathlib import Path
from typing import NoReturn


class BadTlsFile(ValueError):  # noqa: N818 - it says what is the case
    """A file cannot be used for TLS. One line: which file, and why.

    `setting`: what named it, `ca`, `cert` or `key`.
    """

    def __init__(self, setting: str, file: str, why: str) -> None:
        super().__init__(f"{file if file.isprintable() else ascii(file)}: {why}")
        self.setting = setting


def check_readable(setting: str, file: str) -> None:
    """`file` can be read. Raises BadTlsFile: what OpenSSL says does not name the file."""
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise BadTlsFile(setting, file, error.strerror or str(error)) from None
    except ValueError:  # a NUL
        raise BadTlsFile(setting, file, "no file can have this name") from None


def why(error: ssl.SSLError, otherwise: str) -> str:
    """OpenSSL's reason in small letters, else `otherwise`."""
    return error.reason.replace("_", " ").lower() if error.reason else otherwise


def load_own(context: ssl.SSLContext, cert: str, key: str) -> None:
    """`context` shows the certificates in `cert` (PEM, our own first, then those that lead to its authority), and has
    their key out of `key`; "" for a key that is in the same file. Raises BadTlsFile, for an encrypted key too.
    """
    check_readable("cert", cert)
    if key:
        check_readable("key", key)

    def ask() -> NoReturn:
        # Without this OpenSSL asks at the terminal, and a service that has none never starts.
        raise BadTlsFile(
            "key" if key else "cert", key or cert, "the key is encrypted, and nobody types a password here"
        )

    both = f"{cert} with {key}" if key else cert
    try:
        context.load_cert_chain(cert, key or None, password=ask)
    except ssl.SSLError as error:
        raise BadTlsFile("cert", both, why(error, "not a certificate with its key in PEM")) from None
