"""Errors of commands are one line and an exit code."""

import errno
import socket
import ssl

import pytest
import typer

from gateway.access.ports import Conflict, NotReplicated, StoreUnavailable
from gateway.catalog.document import CatalogError
from gateway.cli.failure import REFUSED, WRONG_USE, told, why_not
from gateway.settings import SettingsError
from gateway.start_error import StartError
from gateway.store.embedded import EmbeddedError
from gateway.store.redis_store import StoreRefused


def certificate_error(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = message
    return error


CASES = [
    pytest.param(SettingsError("x.toml: listen.port: bad"), WRONG_USE, "x.toml: listen.port: bad", id="settings"),
    pytest.param(CatalogError("apis/a.toml", "route: bad"), WRONG_USE, "apis/a.toml: route: bad", id="policies"),
    pytest.param(EmbeddedError("store.data_dir: no"), WRONG_USE, "store.data_dir: no", id="the embedded server"),
    pytest.param(StartError("listen.port: taken"), WRONG_USE, "listen.port: taken", id="a port"),
    pytest.param(StoreRefused("store.pepper: gone"), WRONG_USE, "store.pepper: gone", id="a store that is not ours"),
    pytest.param(StoreUnavailable("away"), REFUSED, "store.url: away", id="a store that is away"),
    pytest.param(Conflict(), REFUSED, "there is an owner already", id="a second owner"),
    pytest.param(NotReplicated(), REFUSED, "store.write_replicas: ", id="too few replicas"),
    pytest.param(SettingsError("two\nlines"), WRONG_USE, "two lines", id="a text of two lines"),
]


@pytest.mark.parametrize(("error", "code", "said"), CASES)
def test_an_error_is_one_line_on_standard_error_and_a_code(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, told():
        raise error
    printed = capsys.readouterr()
    assert ended.value.exit_code == code
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith(f"zonegate: {said}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('h', 1)"), "Connection refused"),
        pytest.param(socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        pytest.param(OSError(), "the name was not found"),
        pytest.param(certificate_error("self-signed certificate"), "self-signed certificate"),
    ],
)
def test_why_there_is_no_connection_is_said_without_python_s_words(error: OSError, said: str) -> None:
    assert why_not(error) == said


def test_what_nobody_expected_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), told():
        raise ZeroDivisionError
