"""News of tokens for an operator's webhook (`notify.webhook`): one POST of JSON each, off the request path.

Each is tried until the receiver has taken it, and given up after a few tries, with a line in the log: who has to know
everything reads the audit. What was taken without an answer comes twice. The body holds ids, names and dates, never a
secret; the URL may hold one, and stands in no log.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import aiohttp
import msgspec
import structlog

from gateway.tokens.news import News, show_news
from gateway.tokens.secret import Sensitive

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 1000
"""News that wait for a slow receiver; what comes then is dropped, counted, and told in the log."""
PAUSES: Final = (1.0, 5.0, 25.0)
"""Seconds before each further try."""
_TIMEOUT: Final = 5.0
_LAST_WORDS: Final = 2.0
"""Seconds for what still waits when the worker ends."""
_AGAIN: Final = frozenset({408, 425, 429})
"""Of the statuses below 500, those that say "later" (RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4)."""


class Webhook:
    """Tells news to `url`; "": to nobody. One for a worker."""

    def __init__(self, url: Sensitive, *, most: int = MOST_WAITING, pauses: Sequence[float] = PAUSES) -> None:
        self._url = url
        self._most = most
        self._pauses = tuple(pauses)
        self._waiting: deque[News] = deque()
        self._wake = asyncio.Event()
        self._ending = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._overflows = False
        self.dropped = 0
        """News that nobody was told."""

    @property
    def has_room(self) -> bool:
        """Whether there is room for news that can wait: half of it is kept for those that cannot."""
        return len(self._waiting) < max(1, self._most // 2) and not self._ending.is_set()

    def tell(self, news: News) -> None:
        """`news` waits for its turn. Never waits, never raises."""
        if not self._url:
            return
        if len(self._waiting) >= self._most:
            self.dropped += 1
            if not self._overflows:  # one line, however many there are
                self._overflows = True
                log.warning("webhook too slow, news dropped", news=news.event, token=news.token_id)
            return
        self._waiting.append(news)
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Tell what waits, in its order, until cancelled."""
        if not self._url:
            return
        # No proxy of the environment's, no cookies: this goes to the receiver alone.
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT), cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._send(session, self._waiting[0])
                    if self._waiting:  # unless all ended meanwhile
                        self._waiting.popleft()
                self._idle.set()
                if self._overflows:
                    self._overflows = False
                    log.info("webhook keeps up again", dropped=self.dropped)

    async def close(self, patience: float = _LAST_WORDS) -> None:
        """What waits has had one more try, while `run` is at work, or stands in the log as not told."""
        self._ending.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()
        if self._waiting:
            self.dropped += len(self._waiting)
            log.warning("webhook not told, the worker ends", waiting=len(self._waiting), dropped=self.dropped)
            self._waiting.clear()

    async def _send(self, session: aiohttp.ClientSession, news: News) -> None:
        body, why = msgspec.json.encode(show_news(news)), ""
        for pause in (*self._pauses, None):
            is_last = pause is None or self._ending.is_set()
            found = await self._post(session, body)
            if found is None:
                return
            why, again = found
            if not again or is_last:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ending.wait()
        self.dropped += 1
        log.warning("webhook not told", news=news.event, token=news.token_id, error=why, dropped=self.dropped)

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> tuple[str, bool] | None:
        """None when it was taken; else why not, and whether to try again. A redirect is not followed."""
        headers = {"Content-Type": "application/json", "User-Agent": "zonegate"}
        try:
            async with session.post(self._url.reveal(), data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except TimeoutError:
            return "no answer in time", True
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__, True  # its text may hold the URL
        if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110 15.3
            return None
        return f"status {status}", status >= 500 or status in _AGAIN  # noqa: PLR2004 - RFC 9110 15.6
