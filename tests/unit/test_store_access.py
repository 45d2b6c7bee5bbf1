import asyncio
from pathlib import Path

import pytest
from support.configured import Set

from gateway.access.ports import Conflict, StoreUnavailable
from gateway.settings import SettingsError
from gateway.store_access import initialise, open_store, ready_store
from gateway.tokens.secret import parse_secret


def test_a_url_is_the_store_s_as_it_stands_and_nobody_watches_it(configured: Set, tmp_path: Path) -> None:
    with ready_store(configured("store.url = 'redis://user:hush@h:6379/1'")) as store:
        assert store.url == "redis://user:hush@h:6379/1"
        assert store.is_running is None
    assert not (tmp_path / "store").exists()


def test_an_embedded_store_runs_as_long_as_it_is_used(configured: Set, tmp_path: Path) -> None:
    with ready_store(configured()) as store:
        assert Path(store.url.removeprefix("unix://")).is_socket()
        assert store.is_running is not None
        assert store.is_running()
    assert not store.is_running()
    assert not (tmp_path / "store" / "server.json").exists()


@pytest.mark.parametrize("url", ["redis://user:hush@h:port/0", "redis://user:hush@h/0?socket_timeout=hush"])
async def test_a_url_that_is_none_is_one_line_without_its_password(configured: Set, url: str) -> None:
    with pytest.raises(SettingsError, match=r"^store\.url: [^\n]+$") as caught:
        async with open_store(configured(), url):
            pass
    assert "hush" not in str(caught.value)


async def test_a_store_that_is_not_there_is_unavailable_when_it_is_asked(configured: Set, tmp_path: Path) -> None:
    async with open_store(configured(), f"unix://{tmp_path}/none.sock") as store:
        with pytest.raises(StoreUnavailable):
            await store.prepare()


async def test_the_first_token_may_do_everything_and_is_the_only_one(configured: Set) -> None:
    settings = configured("store.pepper = ['salt']")
    token, secret, catalog = await asyncio.to_thread(initialise, settings)
    credential = parse_secret(secret.reveal())
    assert credential is not None
    assert credential.token_id == token.id
    assert {group for policy in token.policies for group in policy.permission_groups} == {
        group.id for group in catalog.groups if group.name == "All Permissions"
    }
    with pytest.raises(Conflict):
        await asyncio.to_thread(initialise, settings)
