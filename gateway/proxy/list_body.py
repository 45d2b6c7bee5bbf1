"""The JSON of a list: taken apart, and put together again around fewer items.

What is not the list, nor a total of it, stays as it came: numbers of any size, members that nobody here knows.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gateway.proxy.member import member

INFO: Final = "result_info"
"""Beside the items: which page they are, and how many there are in all."""
_NO_ITEMS: Final = msgspec.Raw(b"[]")
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_encoder: Final = msgspec.json.Encoder()


class ListBody(msgspec.Struct, frozen=True):
    """`path`: keys of the items; `around`: the objects around them, from outside to inside, each without what the next
    is made of; `items`: views of the text that was read; `pages`: how many there are, None where it does not say.
    """

    path: tuple[str, ...]
    around: tuple[Mapping[str, msgspec.Raw], ...]
    items: list[msgspec.Raw]
    pages: int | None

    @property
    def has_info(self) -> bool:
        """It tells of pages and totals."""
        return bool(self.around) and INFO in self.around[-1]


def _pages(info: msgspec.Raw | None) -> int | None:
    if info is None:
        return None
    pages, total, size = (member(info, (name,)) for name in ("total_pages", "total_count", "per_page"))
    if _is_count(pages):
        return int(pages)
    return -(-total // size) if _is_count(total) and _is_count(size) and size else None


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def read_list(body: bytes, path: tuple[str, ...]) -> ListBody:
    """The list that stands in `body` under the keys of `path`; the body itself where there are none.

    Raises msgspec.DecodeError where there is none, or none that can be read.
    """
    try:
        return _read(body, path)
    except (RecursionError, UnicodeDecodeError) as error:
        raise msgspec.DecodeError("nested too deep, or not UTF-8") from error


def _read(body: bytes, path: tuple[str, ...]) -> ListBody:
    around = []
    text: bytes | msgspec.Raw = body
    for key in path:
        members = _object.decode(text)
        if key not in members:
            raise msgspec.DecodeError("the list is missing")
        text = members[key]
        # Copies: a view would keep all of the text.
        around.append({name: _NO_ITEMS if name == key else raw.copy() for name, raw in members.items()})
    return ListBody(path, tuple(around), _list.decode(text), _pages(around[-1].get(INFO) if around else None))


def write_list(like: ListBody, items: Sequence[bytes], info: Mapping[str, int] | None) -> bytes:
    """A body like that of `like`, with these `items`, and with `info` of them (None: it tells of none)."""
    text = b"[%b]" % b",".join(items)
    for key, members in zip(reversed(like.path), reversed(like.around), strict=True):
        changed = {**members, key: msgspec.Raw(text)}
        if info is not None:
            changed[INFO] = msgspec.Raw(_encoder.encode(info))
            info = None
        text = _encoder.encode(changed)
    return text
