from importlib import resources
from pathlib import Path

import pytest

from gateway.dashboard.static_files import POLICY, StaticFiles, read_static
from gateway.reason import Answer

FILES = StaticFiles({"index.html": b"<!doctype html>", "app.js": b"1", "style.css": b"", "icon.svg": b"<svg/>"})


def found(name: str, *tags: bytes) -> Answer:
    answer = FILES.answer(name, tags)
    assert answer is not None
    return answer


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_a_file_is_sent_as_what_it_is_with_the_policy_that_keeps_all_others_out(name: str, type_: str) -> None:
    answer = found(name)
    fields = dict(answer.fields)
    assert (answer.status, fields["Content-Type"]) == (200, type_)
    assert fields["Content-Security-Policy"] == POLICY
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert fields["Referrer-Policy"] == "no-referrer"


def test_the_policy_lets_nothing_in_that_is_not_ours_and_nobody_frame_it() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in POLICY.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert {rules[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}
    assert "unsafe" not in POLICY
    assert "*" not in POLICY


def test_the_index_is_never_stored_and_what_it_loads_is_asked_for_again() -> None:
    assert dict(found("index.html").fields)["Cache-Control"] == "no-store"
    assert dict(found("app.js").fields)["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("form", [b"%b", b"W/%b", b'"x", %b'], ids=["alone", "weak", "among others"])
def test_who_has_a_file_already_is_not_sent_it_again(form: bytes) -> None:
    tag = dict(found("app.js").fields)["ETag"].encode()
    answer = found("app.js", form % tag)
    assert (answer.status, answer.body) == (304, b"")
    assert found("app.js", b'"another"').status == 200


@pytest.mark.parametrize("name", ["", "App.js", "..", "static", "app.js%00", "__init__.py"])
def test_there_are_no_others(name: str) -> None:
    assert FILES.answer(name) is None


def test_all_files_of_a_directory_are_read_and_none_below_it(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_bytes(b"1")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.js").write_bytes(b"2")
    assert read_static(tmp_path) == {"a.js": b"1"}


def test_the_package_has_the_page_and_it_is_small() -> None:
    files = read_static(resources.files("gateway.dashboard") / "static")
    assert "index.html" in files
    assert sum(map(len, files.values())) < 150 * 1024
