"""PowerDNS's clients through the gateway, unmodified: they are told where it is, and get a token for a key."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.console import run, steps
from support.pages import POWERDNS, ROOT, pages_in, skipped
from support.powerdns import KEY
from support.powerdns_front import ALL_OF_A_ZONE, ALPHA, CLOSED, Front, fronted
from support.processes import free_port
from support.records import zone

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronted(tmp_path_factory.mktemp("powerdns")) as found:
        yield found


def client(directory: Path, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """One of their commands, run to its end in `directory`, which is its home too.

    lexicon asks the net for the list of public suffixes, and takes the one that it brought along when it gets none.
    """
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=directory,
        env={**os.environ, "HOME": str(directory), **nowhere, "no_proxy": "127.0.0.1", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def octodns(front: Front, directory: Path, zone_name: str, records: str, secret: str) -> tuple[int, str]:
    """Exit code and words of `octodns-sync --doit` of one zone whose file has `records`."""
    (directory / f"{zone_name}yaml").write_text(records)
    (directory / "octodns.yaml").write_text(
        f"""
providers:
  files:
    class: octodns.provider.yaml.YamlProvider
    directory: {directory}
    enforce_order: false
  powerdns:
    class: octodns_powerdns.PowerDnsProvider
    host: 127.0.0.1
    port: {front.gateway.port}
    api_key: env/POWERDNS_TOKEN
    notify: true
zones:
  {zone_name}:
    sources: [files]
    targets: [powerdns]
"""
    )
    done = client(directory, "octodns-sync", "--config-file=octodns.yaml", "--doit", "--force", POWERDNS_TOKEN=secret)
    return done.returncode, done.stdout + done.stderr


BEFORE = """
'':
  - {type: NS, ttl: 3600, values: [ns1.example.net., ns2.example.net.]}
  - {type: MX, ttl: 300, values: [{preference: 10, exchange: mail.octo.example.}]}
www: {type: A, ttl: 300, values: [192.0.2.1, 192.0.2.2]}
old: {type: CNAME, ttl: 300, value: www.octo.example.}
_dmarc: {type: TXT, ttl: 300, value: v=DMARC1\\; p=none}
"""
AFTER = """
'':
  - {type: NS, ttl: 3600, values: [ns1.example.net.]}
www: {type: A, ttl: 300, value: 192.0.2.3}
'*.dyn': {type: AAAA, ttl: 300, value: '2001:db8::1'}
"""
OCTO = "octo.example."
IN_DNS: list[dict[tuple[str, str], set[str]]] = [
    {
        (OCTO, "NS"): {"ns1.example.net.", "ns2.example.net."},
        (OCTO, "MX"): {"10 mail.octo.example."},
        (f"www.{OCTO}", "A"): {"192.0.2.1", "192.0.2.2"},
        (f"old.{OCTO}", "CNAME"): {"www.octo.example."},
        (f"_dmarc.{OCTO}", "TXT"): {'"v=DMARC1; p=none"'},
        (f"x.dyn.{OCTO}", "AAAA"): set(),
    },
    {
        (OCTO, "NS"): {"ns1.example.net."},
        (OCTO, "MX"): set(),
        (f"www.{OCTO}", "A"): {"192.0.2.3"},
        (f"old.{OCTO}", "CNAME"): set(),
        (f"_dmarc.{OCTO}", "TXT"): set(),
        (f"x.dyn.{OCTO}", "AAAA"): {"2001:db8::1"},
    },
]


def test_octodns_makes_the_zone_equal_to_its_file(front: Front, tmp_path: Path) -> None:
    secret = front.token(("DNS Write", "Zone Write"), zone(OCTO))  # Zone Write, to create it
    for records, expected in zip((BEFORE, AFTER), IN_DNS, strict=True):
        code, said = octodns(front, tmp_path, OCTO, records, secret)
        assert code == 0, said
        assert {asked: front.server.answers(*asked) for asked in expected} == expected
    code, said = octodns(front, tmp_path, OCTO, AFTER, secret)
    assert (code, "No changes were planned" in said) == (0, True), said


def test_octodns_with_a_token_on_another_zone_is_refused(front: Front, tmp_path: Path) -> None:
    secret = front.token(ALL_OF_A_ZONE, zone(ALPHA))
    code, said = octodns(front, tmp_path, CLOSED, "www: {type: A, value: 192.0.2.66}", secret)
    assert code != 0
    assert "403 Client Error" in said
    assert secret not in said
    assert front.nothing_reached(CLOSED)
    assert front.server.answers(f"www.{CLOSED}", "A") == set()


LEXICON = """
import sys
from lexicon.client import Client
from lexicon.config import ConfigResolver

domain, action, name = sys.argv[1:]
asked = {"provider_name": "powerdns", "domain": domain}
with Client(ConfigResolver().with_env().with_dict(asked)) as operations:
    done = getattr(operations, action)(rtype="TXT", name=name, content="token")
    print(sorted(record["name"] for record in done) if action == "list_records" else done)
"""


def lexicon(front: Front, directory: Path, secret: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """One call of lexicon's library. (Its command would first look for the zone in the DNS of the machine.)"""
    server = f"http://127.0.0.1:{front.gateway.port}"
    variables = {"LEXICON_POWERDNS_AUTH_TOKEN": secret, "LEXICON_POWERDNS_PDNS_SERVER": server}
    return client(directory, "python", "-c", LEXICON, *arguments, **variables)


def test_lexicon_sets_and_removes_a_challenge(front: Front, tmp_path: Path) -> None:
    front.server.create("example.com.")  # it takes the zone for what stands above a public suffix
    secret = front.token(("DNS Write",), zone("example.com"))
    challenge = "_acme-challenge.www.example.com"
    for action, said, in_dns in (
        ("create_record", "True", {'"token"'}),
        ("list_records", f"['{challenge}']", {'"token"'}),
        ("delete_record", "True", set()),
    ):
        done = lexicon(front, tmp_path, secret, "example.com", action, challenge)
        assert (done.returncode, done.stdout.strip()) == (0, said), done.stderr
        assert front.server.answers(challenge, "TXT") == in_dns


def test_lexicon_with_a_token_on_another_zone_is_refused(front: Front, tmp_path: Path) -> None:
    front.server.create("example.net.")
    secret = front.token(ALL_OF_A_ZONE, zone(ALPHA))
    done = lexicon(front, tmp_path, secret, "example.net", "create_record", "_acme-challenge.example.net")
    assert done.returncode != 0
    assert "403 Client Error" in done.stderr
    assert front.nothing_reached("example.net.")
    assert front.server.answers("_acme-challenge.example.net", "TXT") == set()


# The page about it.


@pytest.mark.parametrize("page", pages_in(POWERDNS))
def test_the_page_s_commands_do_what_it_says(front: Front, tmp_path: Path, page: str) -> None:
    here = {":8081": f":{front.server.port}", "8080": str(free_port()), "8090": str(free_port())}
    text = re.sub("|".join(here), lambda found: here[found[0]], (ROOT / page).read_text())
    assert list(run(steps(text, skipped(page)), tmp_path, {"PDNS_API_KEY": KEY})) == []
    assert front.server.answers(f"www.{ALPHA}", "A") == {"192.0.2.80"}
