"""Gateways that share a store: processes of their own, each with its workers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.processes import Gateway


class SharingGateway(Gateway):
    """A gateway on a store that others use too. `settings`: more of the environment (`ZONEGATE_STORE__...`)."""

    def __init__(self, directory: Path, upstream: str, store: str, **settings: object) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory, upstream)
        self._settings = {"ZONEGATE_STORE__URL": store} | {
            f"ZONEGATE_{name.upper()}": str(value) for name, value in settings.items()
        }

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self._settings}


@contextmanager
def sharing_gateways(
    directory: Path, upstream: str, store: str, *, count: int = 2, **settings: object
) -> Iterator[list[SharingGateway]]:
    """`count` gateways that run on one store, with the first owner in it; `settings` as `listen__workers=2`."""
    with ExitStack() as stack:
        gateways: list[SharingGateway] = []
        for number in range(count):
            gateway = SharingGateway(directory / f"gateway-{number}", upstream, store, **settings)
            gateway.first = gateways[0].first if gateways else gateway.init()
            stack.callback(gateway.stop)
            gateway.start()
            gateways.append(gateway)
        yield gateways
