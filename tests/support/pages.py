"""Where the commands of each page of the documentation are run, and which are not.

A page that has commands stands here, or a test fails: so no command is written down that nobody ran.
"""

from pathlib import Path
from typing import Final

from support.console import COMMANDS, blocks

ROOT: Final = Path(__file__).parent.parent.parent
DEMO, ALONE, CLIENTS, POWERDNS = "demo", "alone", "clients", "powerdns"

WHERE: Final = {
    "README.md": DEMO,
    "deploy/locust/README.md": DEMO,
    "docs/index.md": DEMO,
    "docs/audit.md": DEMO,
    "docs/leaked-secrets.md": DEMO,
    "docs/owners.md": DEMO,
    "docs/policies.md": DEMO,
    "docs/rotate.md": DEMO,
    "docs/cloudflare.md": ALONE,
    "docs/deploy.md": ALONE,
    "docs/your-api.md": ALONE,
    "docs/clients.md": CLIENTS,
    "docs/powerdns.md": POWERDNS,
}
"""`demo`: beside a `zonegate demo` (test_pages.py). `alone`: the page starts a gateway by itself (test_guides.py).
`clients`: as `demo`, and then its tokens do what the clients do (test_clients.py). `powerdns`: with a real PowerDNS
(test_powerdns_clients.py)."""

NOT_RUN: Final = {
    ("deploy/locust/README.md", "python3 -m venv ~/locust && ~/locust/bin/pip install locust==2.47.0"): (
        "it asks the package index"
    ),
    ("deploy/locust/README.md", "$ locust --config deploy/locust/locust.conf"): (
        "it takes minutes; test_load.py runs Locust with that file"
    ),
    (
        "README.md",
        "make run     # start a store, a demo API and the gateway in front of it; prints curl lines to paste",
    ): ("`make run` is `zonegate demo`, which test_demo.py starts; `make test` is what runs all of this"),
    (
        "docs/clients.md",
        "$ certbot certonly --dns-cloudflare --dns-cloudflare-credentials cloudflare.ini -d www.alpha.example",
    ): ("it takes a certificate authority; test_zone_list.py runs the plugin's own client"),
    ("docs/clients.md", "$ lego --dns cloudflare --email you@example.com -d www.alpha.example run"): (
        "it takes a certificate authority, and lego's program; test_clients.py sends its requests"
    ),
    ("docs/clients.md", "$ external-dns --provider=cloudflare --source=service --domain-filter=alpha.example"): (
        "it takes a cluster, and external-dns's program; test_clients.py sends its requests"
    ),
    ("docs/clients.md", "$ terraform init && terraform apply"): (
        "it takes a provider out of Terraform's registry; test_clients.py sends its requests"
    ),
    ("docs/deploy.md", "python3.11 -m venv /opt/zonegate"): (
        "it takes root, and asks the package index; test_deployment.py looks at the unit"
    ),
    ("docs/deploy.md", "runuser -u zonegate -- /opt/zonegate/bin/zonegate init"): (
        "it takes root and systemd; the commands without them are run by other pages"
    ),
    ("docs/deploy.md", "docker build -f deploy/container/Containerfile -t zonegate ."): (
        "it takes a registry of images; test_deployment.py looks at what the file copies"
    ),
}
"""Page and first line of each block that no test runs, and why."""


def pages() -> list[str]:
    """All pages of ours, as paths from the root."""
    return [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "README.md", *sorted(ROOT.glob("d[oe]*/**/*.md")))
        if path.is_file()
    ]


def pages_in(where: str) -> list[str]:
    """Those whose commands are run there."""
    return [page for page, place in WHERE.items() if place == where]


def skipped(page: str) -> frozenset[str]:
    """First lines of the page's blocks that are not run."""
    return frozenset(title for name, title in NOT_RUN if name == page)


def forgotten(page: str, text: str) -> list[str]:
    """First lines of the blocks of commands in `text` that nobody runs."""
    if page in WHERE:
        return []
    return [block.title for block in blocks(text) if block.language in COMMANDS and block.title not in skipped(page)]
