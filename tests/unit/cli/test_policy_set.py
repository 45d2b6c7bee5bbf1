from pathlib import Path
from shutil import copytree

import pytest

from gateway.catalog.document import CatalogError, CatalogFault
from gateway.cli.policy_set import compile_set, read_set, unknown_files
from gateway.policy_files import LARGEST_POLICY_FILE, policy_root
from gateway.settings import SettingsError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    copytree(policy_root(""), tmp_path / "policies")
    return tmp_path / "policies"


def test_the_set_in_the_package_compiles_with_each_of_its_apis() -> None:
    catalog = compile_set(read_set(""), "/client/v4")
    assert {api.name for api in catalog.apis} == {"zonegate", "billing", "cloudflare-dns", "powerdns"}


def test_a_directory_without_policies_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no policies file"):
        read_set(str(tmp_path))


def test_what_cannot_be_read_is_a_fault_beside_those_of_the_others(directory: Path) -> None:
    (directory / "apis" / "bytes.toml").write_bytes(b"\xff")
    (directory / "apis" / "large.toml").write_bytes(b"#" * (LARGEST_POLICY_FILE + 1))
    (directory / "apis" / "broken.toml").write_text("name =")
    with pytest.raises(CatalogError) as raised:
        compile_set(read_set(str(directory)), "/client/v4")
    assert [(fault.file, fault.message.split(":")[0]) for fault in raised.value.faults] == [
        ("apis/bytes.toml", "not UTF-8"),
        ("apis/large.toml", "over 4 MiB"),
        ("apis/broken.toml", "not TOML"),
    ]


def test_a_file_that_cannot_be_read_is_told_once(directory: Path) -> None:
    (directory / "permission_groups.toml").write_bytes(b"\xff")
    with pytest.raises(CatalogError) as raised:
        compile_set(read_set(str(directory)), "/client/v4")
    assert [fault.message for fault in raised.value.faults] == ["not UTF-8"]


def test_a_set_of_which_a_file_cannot_be_read_is_none_even_if_the_rest_is(directory: Path) -> None:
    (directory / "apis" / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(CatalogError):
        compile_set(read_set(str(directory)), "/client/v4")


def test_a_fault_is_shown_where_an_editor_finds_it(directory: Path) -> None:
    policies = read_set(str(directory))
    assert policies.at(CatalogFault("apis/billing.toml", "bad", line=7)) == f"{directory}/apis/billing.toml:7"
    assert policies.at(CatalogFault("apis/billing.toml", "bad")) == f"{directory}/apis/billing.toml"
    assert policies.at(CatalogFault("token_api.toml", "bad", line=3)) == "token_api.toml:3"


def test_files_that_nobody_reads_are_told(directory: Path) -> None:
    (directory / "permision_groups.toml").write_text("")
    assert unknown_files(read_set(str(directory))) == ["permision_groups.toml"]
