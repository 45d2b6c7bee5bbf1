"""Certificates for tests: an authority of their own, and what it has signed, as PEM files."""

from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from trustme import CA


class Certificate(NamedTuple):
    """Its file (our own first, then those that lead to the authority), and the file of its key."""

    cert: str
    key: str


class Authority:
    """`file` has its certificate; it signs what it is asked to. All files are in `directory`."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._ca = CA(organization_name=name)
        self._directory = directory
        self._name = name
        self.file = str(directory / f"{name}.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def sign(self, *names: str) -> Certificate:
        """A certificate for hosts or addresses, good for a server and for a client."""
        leaf = self._ca.issue_cert(*names)
        place = self._directory / f"{self._name}-{names[0].replace('*', '_')}"
        cert, key = place.with_name(f"{place.name}.pem"), place.with_name(f"{place.name}.key")
        cert.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(key))
        return Certificate(str(cert), str(key))


def encrypted(key: str, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """A file with `key` under a password."""
    place = Path(f"{key}.encrypted")
    secret = load_pem_private_key(Path(key).read_bytes(), None)
    place.write_bytes(secret.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"password")))
    return str(place)


def joined(certificate: Certificate) -> str:
    """One file with the key and its certificate."""
    place = Path(f"{certificate.cert}.both")
    place.write_bytes(Path(certificate.key).read_bytes() + Path(certificate.cert).read_bytes())
    return str(place)
