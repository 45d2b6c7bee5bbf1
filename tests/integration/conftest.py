"""Real servers for the store's tests, each kind once for a module."""

from collections.abc import Iterator

import pytest
from support.servers import ClusterGroup, SentinelGroup, ValkeyServer, cluster_group, sentinel_group


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One server on a port."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelGroup]:
    """A primary, two replicas, three sentinels."""
    with sentinel_group(tmp_path_factory.mktemp("sentinels")) as group:
        yield group


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterGroup]:
    """Three nodes that share the slots."""
    with cluster_group(tmp_path_factory.mktemp("cluster")) as group:
        yield group
