"""`zonegate serve` as operators see it: starts, refuses to start, ends."""

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import pytest
from support.processes import UPSTREAM_SECRET, Gateway, alive, running
from support.records import group_id, zone

from gateway.demo.dataset import ZONES
from gateway.policy_files import policy_root


@pytest.fixture
def idle(tmp_path: Path) -> Gateway:
    """A gateway that has not been started, with an upstream that nobody asks."""
    return Gateway(tmp_path, "http://127.0.0.1:9")


SETTINGS: list[Any] = [
    pytest.param("[listen]\nprot = 1\n", "listen.prot", id="an unknown key"),
    pytest.param('[listen]\nport = "x"\n', "listen.port", id="a wrong type"),
    pytest.param("[authz]\nport = 9\n", "authz.port: not in this version yet", id="a key of a later version"),
    pytest.param("[listen]\nworkers = 0\n", "listen.workers", id="nobody to do the work"),
    pytest.param('[store]\nurl = "mysql://x"\n', "store.url", id="another kind of store"),
    pytest.param('[listen]\ntrusted_proxies = ["0.0.0.0/0"]\n', "listen.trusted_proxies", id="trust in everybody"),
    pytest.param('[upstreams.nothing]\ntargets = ["http://127.0.0.1:1"]\n', "nothing", id="an upstream without an API"),
    pytest.param('[policies]\ndir = "/nonexistent"\n', "policies.dir", id="no policies"),
    pytest.param('[store]\npepper = ["${NO_SUCH_PEPPER}"]\n', "NO_SUCH_PEPPER", id="a variable that is not set"),
    pytest.param("[listen\n", "not TOML", id="no TOML"),
]


@pytest.mark.parametrize(("text", "named"), SETTINGS)
def test_bad_settings_are_one_line_and_exit_code_2(text: str, named: str, idle: Gateway) -> None:
    idle.config.write_text(text)
    done = idle.command("serve", "--config", str(idle.config))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr
    assert done.stderr.startswith("zonegate: ")


WRONG_USE = [
    pytest.param(["tokne"], id="an unknown command"),
    pytest.param(["serve", "--bogus"], id="an unknown option"),
    pytest.param(["token", "show"], id="a missing argument"),
    pytest.param(["token", "show", "x"], id="an id that is none"),
    pytest.param(["demo", "--port", "x"], id="a port that is none"),
]


@pytest.mark.parametrize("arguments", WRONG_USE)
def test_wrong_use_of_a_command_is_one_line_and_exit_code_2(arguments: list[str], idle: Gateway) -> None:
    done = idle.command(*arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith("zonegate: ")


def test_a_file_that_is_not_there_is_one_line(idle: Gateway) -> None:
    done = idle.command("serve", "--config", "/nonexistent.toml")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_config_may_stand_before_or_behind_the_command(idle: Gateway) -> None:
    idle.config.write_text("[listen]\nprot = 1\n")
    before = idle.command("--config", str(idle.config), "serve")
    behind = idle.command("serve", "--config", str(idle.config))
    assert (before.returncode, before.stderr) == (behind.returncode, behind.stderr)


def test_broken_policies_are_one_line_with_their_first_fault_and_exit_code_2(idle: Gateway, tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    copytree(policy_root(""), policies)
    (policies / "apis" / "a.toml").write_text("name =")
    (policies / "apis" / "b.toml").write_text("name =")
    idle.config.write_text(f"policies.dir = '{policies}'\n")
    done = idle.command("serve", "--config", str(idle.config))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "apis/a.toml: not TOML" in done.stderr
    assert "and 1 more" in done.stderr


def test_a_port_that_is_taken_is_one_line_and_exit_code_2(idle: Gateway) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", idle.port))
        taken.listen()
        done = idle.command("serve", "--config", str(idle.config))
    said = [line for line in done.stderr.splitlines() if line.startswith("zonegate: ")]
    assert done.returncode == 2
    assert said == [f"zonegate: listen.port: 127.0.0.1:{idle.port}: Address already in use"]
    assert "Traceback" not in done.stderr


def test_init_twice_is_refused(idle: Gateway) -> None:
    idle.init()
    done = idle.command("init", "--config", str(idle.config))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_init_works_beside_a_running_gateway(idle: Gateway) -> None:
    idle.start()
    try:
        secret = idle.init()
        assert idle.call("GET", "/user/tokens/verify", secret).status_code == 200
    finally:
        idle.stop()


def test_sigterm_ends_it_with_code_0_and_the_store_with_it(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, _):
        store = gateway.store_pid()
        assert gateway.stop() == 0
        assert not alive(store)


def test_tokens_survive_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, _):
        gateway.stop()
        gateway.start()
        assert gateway.call("GET", "/user/tokens/verify").status_code == 200


def test_a_pepper_can_be_added_and_its_loss_is_noticed(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, _):
        gateway.stop()
        plain = gateway.config.read_text()
        gateway.config.write_text(plain.replace("[store]", '[store]\npepper = ["grains of black pepper"]'))
        gateway.start()
        assert gateway.call("GET", "/user/tokens/verify").status_code == 200  # proved plainly, made anew
        assert gateway.call("GET", "/user/tokens/verify").status_code == 200
        gateway.stop()
        gateway.config.write_text(plain)
        done = gateway.command("serve", "--config", str(gateway.config))
        assert done.returncode == 2
        assert "store.pepper" in done.stderr


def test_no_secret_is_in_the_log_however_much_it_says(tmp_path: Path) -> None:
    with running(tmp_path, '[log]\nlevel = "debug"\n') as (gateway, _):
        gateway.stop()
        gateway.config.write_text(gateway.config.read_text().replace("[store]", '[store]\npepper = ["black pepper"]'))
        gateway.start()
        assert gateway.call("GET", "/user/tokens/verify").status_code == 200
        assert gateway.call("GET", f"/zones/{ZONES['alpha.example']}/dns_records").status_code == 200
        gateway.stop()
        log = gateway.log()
    assert '"ready"' in log
    for secret in (gateway.first, "black pepper", UPSTREAM_SECRET):
        assert secret not in log


def test_the_admin_listener_has_health_and_the_token_api_and_nothing_else(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, upstream):
        bearer = {"Authorization": f"Bearer {gateway.first}"}
        admin = gateway.admin_url
        assert httpx.get(f"{admin}/healthz").json() == {"status": "ok", "reasons": []}
        assert httpx.get(f"{admin}/readyz").status_code == 200
        assert httpx.get(f"{admin}/client/v4/user/tokens/verify", headers=bearer).status_code == 200
        records = f"/client/v4/zones/{ZONES['alpha.example']}/dns_records"
        assert httpx.get(f"{admin}{records}", headers=bearer).status_code == 404
        assert upstream.journal() == []
        assert httpx.get(f"{admin}/healthz", headers={"Host": "rebound.example"}).status_code == 400
        assert httpx.get(f"http://127.0.0.1:{gateway.port}/healthz", headers=bearer).status_code == 404


def test_after_two_updates_at_once_the_token_is_one_of_the_two_wholly(tmp_path: Path) -> None:
    def body(mark: str, zone_id: str) -> dict[str, Any]:
        return {
            "name": mark,
            "policies": [
                {
                    "effect": "allow",
                    "permission_groups": [{"id": group_id("DNS Write")}],
                    "resources": {zone(zone_id): "*"},
                }
            ],
        }

    bodies = [body("first", "a" * 32), body("second", "b" * 32)]
    with running(tmp_path) as (gateway, _):
        made = gateway.create(**bodies[0])
        for _ in range(10):
            threads = [
                threading.Thread(
                    target=gateway.call, args=("PUT", f"/user/tokens/{made['id']}"), kwargs={"json": wanted}
                )
                for wanted in bodies
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            found = gateway.call("GET", f"/user/tokens/{made['id']}").json()["result"]
            (wanted,) = [wanted for wanted in bodies if wanted["name"] == found["name"]]
            assert found["policies"][0]["resources"] == wanted["policies"][0]["resources"]


# How many files may be open.


@contextmanager
def few_files() -> Iterator[int]:
    """What is started meanwhile may have few files open, and may ask for the number that this is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_as_many_files_may_be_open_as_the_system_allows(tmp_path: Path) -> None:
    with few_files() as most, running(tmp_path) as (gateway, _):
        assert [resource.prlimit(worker, resource.RLIMIT_NOFILE)[0] for worker in gateway.workers()] == [most]


def test_more_connections_than_files_are_warned_of(idle: Gateway) -> None:
    idle.config.write_text(idle.config.read_text().replace("[listen]", "[listen]\nmax_connections = 2000000000"))
    idle.init()
    idle.start()
    idle.stop()
    assert "fewer files may be open than listen.max_connections lets in" in idle.log()
