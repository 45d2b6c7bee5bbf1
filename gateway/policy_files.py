"""The policies directory, and what is built of it."""

from importlib import resources
from pathlib import Path
from typing import Final

from gateway.catalog.catalog import Catalog, load_catalog
from gateway.settings import Settings, SettingsError

LARGEST_POLICY_FILE: Final = 4 * 1024 * 1024
"""Bytes. What people write has a hundredth of that; an imported API of 10,000 routes, half."""


def policy_root(directory: str) -> Path:
    """Where the policies are; "" is the set that came with the package."""
    if directory:
        return Path(directory)
    root = Path(str(resources.files("gateway"))) / "policies"
    return root if root.is_dir() else Path(__file__).parent.parent / "policies"  # a checkout


def policy_paths(root: Path) -> list[Path]:
    """The files under `root` that are read. Raises SettingsError."""
    try:
        paths = sorted([*root.glob("*.toml"), *root.glob("apis/*.toml")])
    except OSError as error:
        msg = f"policies.dir: {error.filename or root}: {error.strerror}"
        raise SettingsError(msg) from None
    if not paths:
        msg = f"policies.dir: {root}: there is no policies file"
        raise SettingsError(msg)
    return paths


def policy_text(path: Path) -> str:
    """What stands in one of them. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_POLICY_FILE + 1)
        if len(content) > LARGEST_POLICY_FILE:
            msg = f"policies.dir: {path}: over {LARGEST_POLICY_FILE // 1024 // 1024} MiB"
            raise SettingsError(msg)
        return content.decode()
    except UnicodeDecodeError:
        msg = f"policies.dir: {path}: not UTF-8"
        raise SettingsError(msg) from None
    except OSError as error:
        msg = f"policies.dir: {error.filename or path}: {error.strerror}"
        raise SettingsError(msg) from None


def policy_files(directory: str) -> dict[str, str]:
    """The texts of a policies directory by path; "" is the set that came with the package."""
    root = policy_root(directory)
    return {path.relative_to(root).as_posix(): policy_text(path) for path in policy_paths(root)}


def token_api_text() -> str:
    """The token API's own routes, as the package has them."""
    return resources.files("gateway.catalog").joinpath("token_api.toml").read_text(encoding="utf-8")


def build_catalog(settings: Settings) -> Catalog:
    """The catalogue in force. Raises CatalogError, SettingsError."""
    return load_catalog(
        policy_files(settings.policies.dir),
        token_api_text(),
        prefix=settings.listen.prefix,
        served=settings.upstreams.keys(),
        public_token_api=settings.listen.token_api,
    )
