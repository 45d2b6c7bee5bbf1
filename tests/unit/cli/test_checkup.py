import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.cli.checkup import (
    Finding,
    Status,
    StoreAnswers,
    examine,
    judge_clock,
    judge_file,
    judge_open_files,
    judge_store,
    judge_tracing,
)
from gateway.settings import Listen, Settings, Store, Upstream

WELL = StoreAnswers(evicts=None, concerns=(), replicas=None, ahead=0.0, has_owner=True, frozen=False)
EVICTS = "the server's maxmemory-policy is allkeys-lru: it may drop tokens; set noeviction"
UNDONE = "store.write_replicas is 0: a failover may undo the last changes, revocations too; set 1"


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    """What is not well, by its check; each says what mends it."""
    found = [finding for finding in findings if finding.status is not Status.OK]
    assert all(finding.remedy for finding in found)
    return [(finding.check, finding.status) for finding in found]


@pytest.mark.parametrize(
    ("answers", "replicas", "found"),
    [
        pytest.param(WELL, 0, [], id="well"),
        pytest.param(replace(WELL, evicts=EVICTS), 0, [("eviction", "error")], id="it drops tokens"),
        pytest.param(replace(WELL, replicas=1, concerns=(UNDONE,)), 0, [("replicas", "warning")], id="a failover"),
        pytest.param(replace(WELL, replicas=1), 1, [], id="as many replicas as are wanted"),
        pytest.param(replace(WELL, replicas=0), 1, [("replicas", "error")], id="a replica that is away"),
        pytest.param(replace(WELL, ahead=5.0), 0, [("clock", "warning")], id="a clock that is ahead"),
        pytest.param(replace(WELL, has_owner=False), 0, [("owner", "warning")], id="no owner"),
        pytest.param(replace(WELL, frozen=True), 0, [("freeze", "warning")], id="frozen"),
    ],
)
def test_what_is_said_of_a_store(answers: StoreAnswers, replicas: int, found: list[tuple[str, str]]) -> None:
    assert bad(list(judge_store(answers, Settings(store=Store(write_replicas=replicas))))) == found


@pytest.mark.parametrize(
    ("ahead", "status"),
    [
        pytest.param(0.0, Status.OK, id="alike"),
        pytest.param(-1.0, Status.OK, id="a second behind"),
        pytest.param(1.1, Status.WARNING, id="more than a second ahead"),
        pytest.param(-30.0, Status.WARNING, id="half a minute behind"),
        pytest.param(-31.0, Status.ERROR, id="more than half a minute behind"),
    ],
)
def test_a_clock_is_judged_by_the_store_s(ahead: float, status: Status) -> None:
    assert judge_clock(ahead).status is status


@pytest.mark.parametrize(
    ("skew", "status"),
    [
        pytest.param(0.0, Status.OK, id="alike"),
        pytest.param(60.0, Status.ERROR, id="a minute ahead"),
        pytest.param(-20.0, Status.WARNING, id="behind"),
    ],
)
def test_our_clock_is_held_against_what_the_store_says(server: tuple[Path, str], skew: float, status: Status) -> None:
    settings = Settings(store=Store(data_dir=str(server[0])))
    found = {finding.check: finding for finding in examine(settings, None, (), lambda: time.time() + skew)}
    assert found["clock"].status is status


@pytest.mark.parametrize(
    ("mode", "is_secret", "status"),
    [
        pytest.param(0o600, True, None, id="a key of its owner's"),
        pytest.param(0o640, True, None, id="a key of its group's"),
        pytest.param(0o644, True, Status.ERROR, id="a key of everybody's"),
        pytest.param(0o644, False, Status.WARNING, id="settings that everybody reads"),
        pytest.param(0o602, False, Status.ERROR, id="settings that everybody writes"),
    ],
)
def test_rights_of_a_file(tmp_path: Path, mode: int, *, is_secret: bool, status: Status | None) -> None:
    file = tmp_path / "file"
    file.write_text("")
    file.chmod(mode)
    found = list(judge_file("k", file, Status.ERROR if is_secret else Status.WARNING))
    assert [finding.status for finding in found] == ([] if status is None else [status])
    assert all(str(file) in finding.remedy for finding in found)


def test_a_file_that_is_not_there_is_none_of_its_business(tmp_path: Path) -> None:
    assert list(judge_file("k", tmp_path / "none", Status.ERROR)) == []
    assert list(judge_file("k", None, Status.ERROR)) == []


@pytest.mark.parametrize(
    ("limit", "status"),
    [
        pytest.param(-1, Status.OK, id="no limit"),
        pytest.param(100 + 2 * 256 + 256, Status.OK, id="just enough"),
        pytest.param(100 + 2 * 256 + 255, Status.WARNING, id="one too few"),
    ],
)
def test_open_files_are_counted_for_clients_and_upstreams(limit: int, status: Status) -> None:
    upstream = Upstream(targets=("http://127.0.0.1:1", "http://127.0.0.1:2"))
    settings = Settings(listen=Listen(max_connections=100), upstreams={"x": upstream})
    assert judge_open_files(limit, settings).status is status


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        pytest.param({}, [], id="nobody asked"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318"}, [Status.OK], id="asked for, and there"),
        pytest.param({"OTEL_TRACES_EXPORTER": "jaeger"}, [Status.WARNING], id="asked for, and not there"),
    ],
)
def test_traces_that_are_asked_for_and_will_not_be_are_told_of(environ: dict[str, str], found: list[Status]) -> None:
    findings = list(judge_tracing(environ))
    assert [finding.status for finding in findings] == found
    assert all(finding.remedy for finding in findings if finding.status is not Status.OK)
