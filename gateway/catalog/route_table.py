"""All routes in one table: default deny, one look-up a segment, never a step back.

A node has literal children and, by grammar, variable children. A literal beats a variable, a narrow grammar a wide
one, left to right. The compiler folds what the loser could still match into the winner's branch, so that a look-up
that has taken a branch never needs another: it visits at most one node a segment.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from gateway.catalog.api import Route, Variable
from gateway.catalog.document import CatalogError, CatalogFault
from gateway.tokens.grammar import NARROWEST_FIRST, Grammar

K = TypeVar("K")

_MOST_REMEMBERED: Final = 4096


class Matched(msgspec.Struct, frozen=True):
    """The one route of a request."""

    route: Route


class PathUnknown(msgspec.Struct, frozen=True):
    """No route has this path."""


class MethodUnknown(msgspec.Struct, frozen=True):
    """The path is known, the method is not; `methods` are."""

    methods: tuple[str, ...]


Match = Matched | PathUnknown | MethodUnknown


class _Node:
    __slots__ = ("literals", "routes", "variables")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.variables: dict[Grammar, _Node] = {}
        self.routes: dict[str, Route] = {}

    def child(self, segment: bytes | Variable) -> "_Node":
        if isinstance(segment, Variable):
            return self.variables.setdefault(segment.grammar, _Node())
        return self.literals.setdefault(segment, _Node())

    def step(self, segment: bytes) -> "_Node | None":
        """Where `segment` leads from here."""
        found = self.literals.get(segment)
        if found is None:
            for grammar, child in self.variables.items():
                if grammar.accepts(segment):
                    return child
        return found


def _rank(route: Route) -> tuple[int, ...]:
    """Smaller wins: left to right, a literal before a variable, a narrow grammar before a wide one."""
    return tuple(
        1 + NARROWEST_FIRST.index(segment.grammar) if isinstance(segment, Variable) else 0 for segment in route.template
    )


def _union(first: dict[K, _Node], second: dict[K, _Node]) -> dict[K, _Node]:
    out = {**second, **first}
    for key in first.keys() & second.keys():
        out[key] = _merge(first[key], second[key])
    return out


def _merge(first: _Node, second: _Node) -> _Node:
    """A node that matches what either matches; where both do, the route whose template ranks first wins.

    Not always that of `first`: further down, a literal of `second` may meet a variable of `first`.
    """
    out = _Node()
    out.routes = dict(first.routes)
    for method, route in second.routes.items():
        if method not in out.routes or _rank(route) < _rank(out.routes[method]):
            out.routes[method] = route
    out.literals = _union(first.literals, second.literals)
    out.variables = _union(first.variables, second.variables)
    return out


def _fold(node: _Node) -> _Node:
    """`node` with each variable's branch folded into the literals and the narrower variables that it also matches."""
    out = _Node()
    out.routes = node.routes
    ranked = [grammar for grammar in NARROWEST_FIRST if grammar in node.variables]
    for literal, child in node.literals.items():
        for grammar in ranked:
            if grammar.accepts(literal):
                child = _merge(child, node.variables[grammar])  # noqa: PLW2901
        out.literals[literal] = _fold(child)
    for rank, grammar in enumerate(ranked):
        child = node.variables[grammar]
        for wider in ranked[rank + 1 :]:
            child = _merge(child, node.variables[wider])
        out.variables[grammar] = _fold(child)
    return out


def _shape(template: Sequence[bytes | Variable]) -> tuple[bytes | None, ...]:
    return tuple(None if isinstance(segment, Variable) else segment for segment in template)


def _methods(route: Route) -> list[str]:
    """A GET route serves HEAD too (RFC 9110 9.3.2)."""
    return [*route.methods, *(["HEAD"] if "GET" in route.methods else [])]


def overlaps(route: Route, reserved: Sequence[bytes | None]) -> bool:
    """Whether some path of `route` lies at or under `reserved` (None: any segment)."""
    if len(route.template) < len(reserved):
        return False
    return all(
        name is None or (segment.grammar.accepts(name) if isinstance(segment, Variable) else segment == name)
        for segment, name in zip(route.template, reserved, strict=False)
    )


class RouteTable:
    """Compiled routes; looks up a method and the segments of a path."""

    def __init__(self, routes: Iterable[tuple[str, Route]]) -> None:
        """`routes`: (file, route). Raises CatalogError with all that have another's shape and method."""
        self.routes: list[Route] = []
        root = _Node()
        taken: dict[tuple[tuple[bytes | None, ...], str], str] = {}
        clashes: list[CatalogFault] = []
        for file, route in routes:
            node = root
            for segment in route.template:
                node = node.child(segment)
            for method in _methods(route):
                other = taken.setdefault((_shape(route.template), method), f"{file} {route.text!r}")
                if method in node.routes or other != f"{file} {route.text!r}":
                    said = f"route {method} {route.text!r}: {other} has the same shape and method"
                    clashes.append(CatalogFault(file, said, route.key))
                    break
                node.routes[method] = route
            self.routes.append(route)
        if clashes:
            raise CatalogError.of(clashes)
        self._root = _fold(root)
        self._remembered: dict[tuple[str, tuple[bytes, ...]], Matched] = {}

    def visit(self, segments: Sequence[bytes]) -> list[_Node]:
        """The nodes that a look-up of `segments` goes through: one a segment, or fewer where the path is unknown."""
        nodes = []
        node = self._root
        for segment in segments:
            step = node.step(segment)
            if step is None:
                break
            nodes.append(step)
            node = step
        return nodes

    def match(self, method: str, segments: tuple[bytes, ...]) -> Match:
        """The route of `method` on `segments`. What it costs is the path's length, not the number of routes; and less
        for one of those that were asked for last.
        """
        key = (method, segments)
        found: Match | None = self._remembered.get(key)
        if found is None:
            found = self._look_up(method, segments)
            # What matches is as long as its grammars let it be; anything else is as long as its sender likes.
            if isinstance(found, Matched):
                if len(self._remembered) >= _MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = found
        return found

    def _look_up(self, method: str, segments: Sequence[bytes]) -> Match:
        nodes = self.visit(segments)
        node = nodes[-1] if nodes else self._root
        if len(nodes) < len(segments) or not node.routes:
            return PathUnknown()
        route = node.routes.get(method)
        return Matched(route) if route else MethodUnknown(tuple(sorted(node.routes)))
