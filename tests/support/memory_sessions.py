"""Sessions in a dictionary: the `SessionStore` of tests that are about something else. Its contract is tested beside
the real one's.
"""

import msgspec

from gateway.access.ports import StoreUnavailable
from gateway.store.sessions import Session


class MemorySessions:
    """`failure`, once set, is what every method raises, `touch_failure` what `touch` raises. `seconds`: for how long
    each was to be kept; nobody takes it away then.
    """

    def __init__(self) -> None:
        self.failure: StoreUnavailable | None = None
        self.touch_failure: StoreUnavailable | None = None
        self.held: dict[str, Session] = {}
        self.seconds: dict[str, int] = {}
        self.reads = 0
        self._freezes = 0

    def freeze(self) -> None:
        self._freezes += 1

    def _turn(self, failure: StoreUnavailable | None = None) -> None:
        if found := failure or self.failure:
            raise found

    async def begin(self, digest: str, session: Session, seconds: int) -> None:
        self._turn()
        self.held[digest] = msgspec.structs.replace(session, freezes=self._freezes)
        self.seconds[digest] = seconds

    async def get(self, digest: str) -> Session | None:
        self._turn()
        self.reads += 1
        found = self.held.get(digest)
        return found if found is not None and found.freezes == self._freezes else None

    async def touch(self, digest: str, session: Session, seconds: int) -> None:
        self._turn(self.touch_failure)
        if digest in self.held:
            self.held[digest], self.seconds[digest] = session, seconds

    async def end(self, digest: str) -> None:
        self._turn()
        self.held.pop(digest, None)
