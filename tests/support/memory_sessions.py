"""Sessions in a dictionary: the `SessionStore` of tests that are about something else. Its contract is tested beside
the real one's.
"""

import msgspec

from gateway.access.ports import Action, Actor, StoreUnavailable
from gateway.store.sessions import MOST_OF_ONE, Session


class MemorySessions:
    """`failure`, once set, is what every method raises; `touch_failure` what `touch` raises, `note_failure` what `note`
    does. `seconds`: for how long each was to be kept; nobody takes it away then.
    `unreadable`: what is there cannot be read, though it can be taken away.
    """

    def __init__(self) -> None:
        self.failure: StoreUnavailable | None = None
        self.touch_failure: StoreUnavailable | None = None
        self.note_failure: StoreUnavailable | None = None
        self.held: dict[str, Session] = {}
        self.seconds: dict[str, int] = {}
        self.noted: list[tuple[Action, Actor, float]] = []
        self.unreadable = False
        self.reads = self.ends = 0
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
        of_one = [name for name, held in self.held.items() if held.token_id == session.token_id]
        for surplus in of_one[:-MOST_OF_ONE]:
            del self.held[surplus]

    async def get(self, digest: str) -> Session | None:
        self._turn()
        self.reads += 1
        if self.unreadable:
            raise StoreUnavailable("a session cannot be read")
        found = self.held.get(digest)
        return found if found is not None and found.freezes == self._freezes else None

    async def touch(self, digest: str, session: Session, seconds: int) -> None:
        self._turn(self.touch_failure)
        if digest in self.held:
            self.held[digest], self.seconds[digest] = session, seconds

    async def note(self, action: Action, by: Actor, now: float) -> None:
        self._turn(self.note_failure)
        self.noted.append((action, by, now))

    async def end(self, digest: str) -> Session | None:
        self._turn()
        self.ends += 1
        found = self.held.pop(digest, None)
        return found if found is not None and found.freezes == self._freezes and not self.unreadable else None
