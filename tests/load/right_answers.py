"""What a gateway should answer to a secret at a given moment, and what it did answer. No I/O, no clock.

Moments are Unix seconds of one clock. A change of a token takes effect at some moment between its request and, at the
latest, `LATEST` after its answer: in between, what was right before and what is right after are both right.
"""

import json
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

PROMISE: Final = 0.25
"""Seconds after its answer within which 99 of 100 changes are obeyed everywhere."""
LATEST: Final = 3.0
"""Seconds after its answer within which every change is obeyed everywhere."""
NO_ENVELOPE: Final = -1
_LONGEST: Final = 120


class Answer(NamedTuple):
    """A status, and the v4 code of the first error: None where the envelope has none, NO_ENVELOPE without one."""

    status: int
    code: int | None = None

    def __str__(self) -> str:
        match self.code:
            case None:
                return str(self.status)
            case -1:  # NO_ENVELOPE
                return f"{self.status} without the API's envelope"
            case code:
                return f"{self.status} with code {code}"


OK: Final = Answer(200)
MALFORMED: Final = Answer(400, 6003)
INVALID: Final = Answer(401, 1000)
MISSING: Final = Answer(401, 9106)
FORBIDDEN: Final = Answer(403, 10000)
WRONG_ADDRESS: Final = Answer(403, 9109)
NO_ROUTE: Final = Answer(404, 7003)
NO_METHOD: Final = Answer(405, 7001)


class Got(NamedTuple):
    """What came back: the answer, the envelope's result, the first error's message."""

    answer: Answer
    result: Any = None
    message: str = ""


def read_answer(status: int, content: bytes | None) -> Got:
    """What a response with this body says. Never raises."""
    try:
        match json.loads(content or b""):
            case {"success": True, "errors": [], "result": result}:
                return Got(Answer(status), result)
            case {"success": False, "errors": [{"code": int(code), "message": str(message)}, *_]}:
                return Got(Answer(status, code), message=message[:_LONGEST])
    except (ValueError, RecursionError):
        pass
    return Got(Answer(status, NO_ENVELOPE))


ANYTHING: Final = object()
"""Any result will do."""


def shows(result: object, wanted: object) -> bool:
    """Whether `result` is what was wanted: of an object some members, of a class any value, else that very value."""
    match wanted:
        case dict():
            return isinstance(result, dict) and all(result.get(name, ANYTHING) == wanted[name] for name in wanted)
        case type():
            return isinstance(result, wanted)
        case _:
            return wanted is ANYTHING or result == wanted


def complaint(got: Got, right: Collection[Answer], wanted: object = ANYTHING) -> str | None:
    """What is wrong with an answer, in words without secrets; None when it is one of the right ones.

    `wanted`: what the result of a 200 has to show.
    """
    if got.answer not in right:
        said = f" ({got.message})" if got.message else ""
        return f"got {got.answer}{said}, right was {' or '.join(sorted(map(str, right)))}"
    if got.answer == OK and not shows(got.result, wanted):
        return "got 200, with a result that was not asked for"
    return None


@dataclass
class State:
    """What a secret is good for from some moment on, which lies in [earliest, latest].

    `refusal`: the answer to all that it asks for; None: each request gets its own.
    """

    refusal: Answer | None
    earliest: float
    latest: float


_ALWAYS: Final = float("-inf")
_UNKNOWN: Final = float("inf")


class Secret:
    """An `Authorization` field (None: there is none), and its states in their order."""

    def __init__(self, authorization: str | None, refusal: Answer | None = None) -> None:
        self.authorization = authorization
        self._states = [State(refusal, _ALWAYS, _ALWAYS)]

    def __repr__(self) -> str:
        return "Secret('...')"

    def change(self, refusal: Answer | None, earliest: float, latest: float = _UNKNOWN) -> None:
        """It is `refusal` from some moment in [earliest, latest] on."""
        self._states.append(State(refusal, earliest, latest))

    def settle(self, latest: float) -> None:
        """The last change is in effect from `latest` on."""
        self._states[-1].latest = latest

    def right(self, granted: Answer, sent: float, answered: float) -> frozenset[Answer]:
        """What a request may get that was under way from `sent` to `answered`; `granted` if the secret works."""
        possible = set()
        end = _UNKNOWN  # of the state looked at: where one behind it is in effect for certain
        for state in reversed(self._states):
            if state.earliest <= answered and sent < end:
                possible.add(granted if state.refusal is None else state.refusal)
            end = min(end, state.latest)
        return frozenset(possible)

    def final(self, granted: Answer) -> Answer:
        """What it gets when its last change is obeyed."""
        refusal = self._states[-1].refusal
        return granted if refusal is None else refusal


@dataclass
class Token:
    """A token that changes while others use it, with the last of its secrets, the newest at the end."""

    id: str
    secrets: deque[Secret] = field(default_factory=lambda: deque(maxlen=3))

    @property
    def current(self) -> Secret:
        """The newest secret."""
        return self.secrets[-1]

    def rolled(self, authorization: str, asked: float, answered: float) -> Secret:
        """The new secret of a roll whose beginning `current` was told of; the old one is on its way out."""
        self.current.settle(answered + LATEST)
        new = Secret(authorization, INVALID)
        new.change(None, asked, answered + LATEST)
        self.secrets.append(new)
        return new


@dataclass
class Promise:
    """How many changes were looked at `PROMISE` after their answers, and how many of them were not obeyed then."""

    changes: int = 0
    late: int = 0

    def note(self, *, obeyed: bool) -> None:
        """One more change was looked at."""
        self.changes += 1
        self.late += not obeyed

    def complaint(self) -> str | None:
        """What is wrong when more than one in a hundred was late; a single late one is never too many."""
        if self.late <= max(1, self.changes // 100):
            return None
        return f"{self.late} of {self.changes} changes were not obeyed {PROMISE} s after their answers"
