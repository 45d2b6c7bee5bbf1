"""Settings for one gateway in this process."""

from collections.abc import Callable
from pathlib import Path

from gateway.settings import Settings, load_settings
from support.processes import free_port

Set = Callable[..., Settings]
UPSTREAM = "[upstreams.cloudflare-dns]\ntargets = ['http://127.0.0.1:9']\n"


def configured_in(directory: Path, text: str = UPSTREAM) -> Settings:
    """`text` as settings, on free ports, with their store in `directory`."""
    file = directory / "zonegate.toml"
    file.write_text(
        f"listen.port = {free_port()}\nadmin.port = {free_port()}\nstore.data_dir = '{directory / 'store'}'\n{text}"
    )
    return load_settings(file, {})
