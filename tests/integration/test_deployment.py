"""What `deploy/` has for systemd and for containers fits the program: its paths, its command, its way to end."""

import re
import subprocess
import sys
from pathlib import Path

from support.pages import ROOT
from support.programs import program

from gateway.settings import Limits

UNIT = ROOT / "deploy/systemd/zonegate.service"
IMAGE = ROOT / "deploy/container/Containerfile"


def said_by_unit(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_both_start_the_gateway_with_the_settings_of_etc() -> None:
    assert said_by_unit("ExecStart") == ["/opt/zonegate/bin/zonegate serve --config /etc/zonegate/zonegate.toml"]
    assert 'CMD ["serve", "--config", "/etc/zonegate/zonegate.toml"]' in IMAGE.read_text()


def test_a_stop_waits_for_longer_than_requests_are_waited_for() -> None:
    (seconds,) = said_by_unit("TimeoutStopSec")
    assert int(seconds) > Limits().drain_timeout + 5


def test_a_stop_does_not_take_the_embedded_store_away_from_requests_under_way() -> None:
    assert said_by_unit("KillMode") == ["mixed"]


def test_commands_reach_the_embedded_store_of_a_unit_with_a_tmp_of_its_own() -> None:
    assert said_by_unit("PrivateTmp") == ["yes"]
    assert said_by_unit("Environment") == ["TMPDIR=/run/zonegate"]
    assert said_by_unit("RuntimeDirectory") == ["zonegate"]


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", package="systemd")
    unit = tmp_path / UNIT.name
    here = {"/opt/zonegate/bin/zonegate": sys.executable, "User=zonegate": "", "Group=zonegate": ""}
    unit.write_text(re.sub("|".join(map(re.escape, here)), lambda found: here[found[0]], UNIT.read_text()))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_all_that_the_image_copies_is_there() -> None:
    copied = [
        path
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", IMAGE.read_text(), re.MULTILINE)
        for path in line.split()
    ]
    assert {"pyproject.toml", "constraints.txt", "gateway", "policies"} <= set(copied)
    assert [path for path in copied if not (ROOT / path).exists()] == []
