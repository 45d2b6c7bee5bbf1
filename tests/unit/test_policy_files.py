from pathlib import Path
from shutil import copytree

import pytest
from support.configured import UPSTREAM, Set

from gateway.catalog.document import CatalogError
from gateway.policy_files import build_catalog, policy_files
from gateway.settings import SettingsError


def test_without_a_directory_the_policies_are_those_of_the_package() -> None:
    found = policy_files("")
    assert {"permission_groups.toml", "zonegate_groups.toml", "templates.toml", "apis/cloudflare-dns.toml"} <= set(
        found
    )
    assert 'name = "cloudflare-dns"' in found["apis/cloudflare-dns.toml"]


def test_a_directory_is_read_by_the_paths_below_it_and_nothing_else_of_it(tmp_path: Path) -> None:
    (tmp_path / "apis" / "deeper").mkdir(parents=True)
    for name in ("a.toml", "apis/b.toml", "apis/deeper/c.toml", "notes.txt", "apis/d.toml.bak"):
        (tmp_path / name).write_text(f"# {name}")
    assert policy_files(str(tmp_path)) == {"a.toml": "# a.toml", "apis/b.toml": "# apis/b.toml"}


def refused_policies(directory: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        policy_files(str(directory))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_directory_without_policies_is_refused_by_name(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        said = refused_policies(directory)
        assert said.startswith("policies.dir: ")
        assert str(directory) in said


def test_a_policies_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.toml").mkdir()
    assert refused_policies(tmp_path) == f"policies.dir: {tmp_path}/a.toml: Is a directory"


def test_a_policies_file_that_is_not_utf_8_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text("")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    said = refused_policies(tmp_path)
    assert said.startswith("policies.dir: ")
    assert str(tmp_path / "bad.toml") in said


# The catalogue.


def test_an_api_is_served_when_it_has_an_upstream_and_only_then(configured: Set) -> None:
    catalog = build_catalog(configured(UPSTREAM))
    assert [api.name for api in catalog.apis] == ["zonegate", "cloudflare-dns"]
    assert [api.name for api in build_catalog(configured("")).apis] == ["zonegate"]


def test_an_upstream_whose_api_has_no_file_is_refused_by_its_file_and_key(configured: Set) -> None:
    with pytest.raises(CatalogError) as caught:
        build_catalog(configured("[upstreams.powerbase]\ntargets = ['http://h']"))
    assert "apis/powerbase.toml" in str(caught.value)
    assert "upstreams.powerbase" in str(caught.value)
    assert "cloudflare-dns" in str(caught.value)


def test_a_broken_policies_file_is_refused_by_name(configured: Set, tmp_path: Path) -> None:
    shipped = Path(__file__).parent.parent.parent / "policies"
    copytree(shipped, tmp_path / "policies")
    with (tmp_path / "policies" / "apis" / "billing.toml").open("a") as file:
        file.write("unknown = 1\n")
    with pytest.raises(CatalogError, match=r"^apis/billing\.toml: [^\n]*unknown"):
        build_catalog(configured(f"policies.dir = '{tmp_path / 'policies'}'"))


def test_the_token_api_lives_under_its_prefix_and_may_be_the_admin_listener_s_alone(configured: Set) -> None:
    catalog = build_catalog(configured("listen.prefix = '/api'\nlisten.token_api = false"))
    assert {route.text for route in catalog.admin.routes} >= {"/api/user/tokens", "/api/user/tokens/verify"}
    assert list(catalog.public.routes) == []
