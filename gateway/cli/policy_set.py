"""A directory of policies, read for the commands that look at it: all of it, as if each of its APIs were served."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from gateway.catalog.catalog import GROUP_FILES, TEMPLATE_FILE, Catalog, api_files, load_catalog
from gateway.catalog.document import CatalogError, CatalogFault
from gateway.policy_files import policy_paths, policy_root, policy_text, token_api_text
from gateway.settings import SettingsError

TESTS: Final = "tests"
"""The folder beside `apis/` that holds cases."""


class PolicySet(msgspec.Struct, frozen=True):
    """The texts by path under `root`, and what is wrong with files that could not be read."""

    root: Path
    texts: Mapping[str, str]
    unread: tuple[CatalogFault, ...] = ()

    def at(self, fault: CatalogFault) -> str:
        """`policies/apis/things.toml:12`: where `fault` is, as an editor opens it."""
        known = fault.file in self.texts or (self.root / fault.file).exists()
        path = str(self.root / fault.file) if known else fault.file
        return f"{path}:{fault.line}" if fault.line else path


def read_set(directory: str) -> PolicySet:
    """The policies of `directory`; "" is the set that came with the package. Raises SettingsError if there are none."""
    root = policy_root(directory)
    texts, unread = {}, []
    for path in policy_paths(root):
        file = path.relative_to(root).as_posix()
        try:
            texts[file] = policy_text(path)
        except SettingsError as error:
            unread.append(CatalogFault(file, str(error).partition(f"{path}: ")[2] or str(error)))
    return PolicySet(root, texts, tuple(unread))


def compile_set(policies: PolicySet, prefix: str) -> Catalog:
    """The catalogue of the set, with the token API under `prefix`. Raises CatalogError with all that is wrong."""
    served = [PurePosixPath(file).stem for file in api_files(policies.texts)]
    try:
        catalog = load_catalog(policies.texts, token_api_text(), prefix=prefix, served=served, public_token_api=True)
    except CatalogError as error:
        unread = {fault.file for fault in policies.unread}
        raise CatalogError.of(
            [*policies.unread, *(fault for fault in error.faults if fault.file not in unread)]
        ) from None
    if policies.unread:
        raise CatalogError.of(policies.unread)
    return catalog


def unknown_files(policies: PolicySet) -> list[str]:
    """Files that nobody reads: what stands in them was meant for something."""
    read = {*GROUP_FILES, TEMPLATE_FILE, *api_files(policies.texts)}
    return sorted(policies.texts.keys() - read)
