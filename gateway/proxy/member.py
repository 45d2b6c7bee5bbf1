"""One member of a JSON text, read past all else that is in it."""

from functools import lru_cache
from typing import Any

import msgspec


def member(text: bytes | msgspec.Raw, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - it is what the text says
    """What stands in `text` under the keys of `path`, one inside the other; None where nothing does, or a null.

    Raises msgspec.DecodeError for what is no JSON, or cannot be read as such.
    """
    try:
        found = _decoder(path).decode(text)
    except msgspec.ValidationError:  # on the way there is something that has no members
        return None
    except (RecursionError, UnicodeDecodeError) as error:
        raise msgspec.DecodeError("nested too deep, or not UTF-8") from error
    for _ in path:
        if found is None:
            return None
        found = found.value
    return found


@lru_cache(maxsize=256)  # the paths are those of the policies
def _decoder(path: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    kind: Any = Any
    for key in reversed(path):
        kind = msgspec.defstruct("Level", [("value", kind, None)], rename={"value": key})
    return msgspec.json.Decoder(kind)
