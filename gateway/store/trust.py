"""When a worker may believe what it remembers. Pure: time is an argument, seconds by a monotonic clock.

Once a second a `PING <nonce>` goes out on the subscribed connection. The server answers in order among the messages:
when the nonce comes back, every message that was sent before the server read it has come too. So the memory was true
at the moment the nonce was sent, and may be believed for `LASTS` seconds from then on.
"""

from typing import Final

import msgspec

from gateway.store.redis_store import Meta

LASTS: Final = 3.0
_NEVER: Final = float("-inf")


class Sent(msgspec.Struct, frozen=True):
    """A nonce on its way, and what the store said of itself before it was sent."""

    at: float
    meta: Meta
    last: int | None
    """The last number that had come when the store was asked."""


class Trust:
    """The state of one worker's subscription, over all its connections."""

    def __init__(self) -> None:
        self.until = _NEVER
        self.lost_at = _NEVER
        """Since when nothing is believed, while nothing is."""
        self._subscribed = False
        self._doubtful = True
        self._last: int | None = None
        self._generation: str | None = None
        self._sent: dict[str, Sent] = {}
        self._took = 0.0

    def holds(self, now: float) -> bool:
        """Whether the memory may be believed at `now`."""
        return now < self.until

    def lapsed(self, now: float) -> bool:
        """Whether nothing is believed only because answers stopped coming: the connection is there still."""
        return not self._doubtful and not self.holds(now)

    def since(self, now: float) -> float:
        """How long it has not been believed, in seconds; 0 while it is."""
        return 0.0 if self.holds(now) else now - max(self.lost_at, self.until)

    def lag(self, now: float) -> float:
        """How late a message may be, in seconds: as long as the last nonce took, or the oldest that is not back has
        taken; while nothing is believed, since when that is.
        """
        oldest = min((sent.at for sent in self._sent.values()), default=now)
        return max(self._took, now - oldest) if self.holds(now) else self.since(now)

    def broke_within(self, seconds: float, now: float) -> bool:
        """Whether a connection broke less than `seconds` ago: it may be there again at once.

        Not so when answers stopped coming: then the time was used up by waiting for them.
        """
        return self.lost_at >= self.until and now - self.lost_at < seconds

    @property
    def last(self) -> int | None:
        """The last number that came as a message on this connection, or was known when it began."""
        return self._last

    def begin(self) -> None:
        """A new connection is subscribed: what was told before it is not known."""
        self._subscribed = True
        self._doubtful = True
        self._last = None
        self._sent.clear()

    def end(self, now: float) -> None:
        """The connection is gone, and with it what is told from now on: stricter than to wait for the last nonce."""
        self._subscribed = False
        self.doubt(now)

    def doubt(self, now: float) -> None:
        """The store did not pass a probe: what it says next may not continue what it said before."""
        if self.holds(now):
            self.until = self.lost_at = now
        self._doubtful = True
        self._sent.clear()

    def number(self, number: int) -> bool:
        """A message came. Returns whether everything has to be forgotten: it is not the last plus one."""
        gap = self._last is not None and number != self._last + 1
        self._last = number
        return gap

    def sent(self, nonce: str, sent: Sent) -> None:
        """`nonce` goes out now."""
        self._sent[nonce] = sent

    def returned(self, nonce: str, now: float) -> bool:
        """`nonce` came back. Returns whether everything has to be forgotten; then trust holds again."""
        sent = self._sent.pop(nonce, None)
        if sent is None or not self._subscribed:
            return False
        for older in [other for other, each in self._sent.items() if each.at <= sent.at]:
            del self._sent[older]
        forget = self._doubtful or not self.holds(now) or self._differs(sent)
        if self._last is None or self._differs(sent):
            self._last = sent.meta.sequence
        self._generation = sent.meta.generation
        self._doubtful = False
        self._took = now - sent.at
        self.until = max(self.until, sent.at + LASTS)
        return forget

    def _differs(self, sent: Sent) -> bool:
        """Whether the store has changed in a way that no message told."""
        if sent.meta.generation is None or sent.meta.generation != self._generation:
            return True
        # The number was asked for before the nonce went out, so its message would be here by now.
        missed = self._last is not None and sent.meta.sequence > self._last
        # A number below one that had come when it was asked for: an older copy of the store was restored.
        return missed or (sent.last is not None and sent.meta.sequence < sent.last)
