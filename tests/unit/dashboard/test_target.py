import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.target import Target, split_target
from gateway.dashboard.target import split_page_target
from gateway.reason import Deny

INDEX = (b"dashboard", b"index.html")


@pytest.mark.parametrize(
    ("raw", "target"),
    [
        pytest.param(b"/dashboard/", Target(INDEX), id="with a slash at its end"),
        pytest.param(b"/dashboard/?a=b", Target(INDEX, b"a=b"), id="and a query"),
        pytest.param(b"http://a.example/dashboard/?a=b", Target(INDEX, b"a=b", b"a.example"), id="in absolute form"),
        pytest.param(b"/dashboard", Target((b"dashboard",)), id="without it"),
        pytest.param(b"/dashboard/app.js", Target((b"dashboard", b"app.js")), id="a file"),
    ],
)
def test_the_dashboards_root_is_its_index(raw: bytes, target: Target) -> None:
    assert split_page_target(raw) == target


@pytest.mark.parametrize(
    "raw",
    [
        b"/dashboard//",
        b"/dashboard/app.js/",
        b"/dashboardx/",
        b"/client/v4/",
        b"//",
        b"http://a/x/dashboard/",
        b"x/dashboard/",
    ],
)
def test_no_other_path_may_end_in_a_slash(raw: bytes) -> None:
    assert isinstance(split_page_target(raw), Deny)


@given(st.binary(max_size=40))
def test_everything_else_is_read_as_everywhere(raw: bytes) -> None:
    if not raw.partition(b"?")[0].endswith(b"/dashboard/"):
        assert split_page_target(raw) == split_target(raw)
