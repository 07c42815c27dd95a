"""Names: what a meeting is called by each source, and the call that it means.

Rules: a name leads to at most one call of an organisation; it outlives the meeting, for the next of a series goes by
the same names, until another call takes it or its own gives it up. Owned by the loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.core.types import CallKey


class Names:
    """The aliases of every call, in memory or not."""

    def __init__(self) -> None:
        self._calls: Final[dict[CallKey, str]] = {}
        self._aliases: Final[dict[CallKey, tuple[str, ...]]] = {}
        self._joined: Final[dict[CallKey, CallKey]] = {}
        self._parts: Final[dict[CallKey, list[CallKey]]] = {}

    def call(self, organization: str, name: str) -> CallKey:
        """The call of `organization` that goes by `name`, as an alias or as its id."""
        key = CallKey(organization, self._calls.get(CallKey(organization, name), name))
        while key in self._joined:
            key = self._joined[key]
        return key

    def of(self, key: CallKey) -> tuple[str, ...]:
        """The call's aliases."""
        return self._aliases.get(key, ())

    def holders(self, key: CallKey, aliases: Iterable[str]) -> list[CallKey]:
        """The other calls that go by any of these names."""
        named = (self.call(key.organization, alias) for alias in aliases if self._is_alias(key.organization, alias))
        return [holder for holder in dict.fromkeys(named) if holder != key]

    def _is_alias(self, organization: str, name: str) -> bool:
        return CallKey(organization, name) in self._calls

    def join(self, source: CallKey, target: CallKey) -> None:
        """The call `source` is part of `target` for good."""
        self._aliases.pop(source, None)
        if source not in self._joined:
            self._joined[source] = target
            self._parts.setdefault(target, []).append(source)

    def parts(self, key: CallKey) -> list[CallKey]:
        """The calls that became part of this one, directly or not."""
        return [each for source in self._parts.get(key, ()) for each in (source, *self.parts(source))]

    def give(self, key: CallKey, aliases: tuple[str, ...]) -> None:
        """These are all the names the call goes by; who had one of them has it no more."""
        for holder in self.holders(key, aliases):
            self.give(holder, tuple(each for each in self.of(holder) if each not in aliases))
        for alias in self._aliases.pop(key, ()):
            self._calls.pop(CallKey(key.organization, alias), None)
        if aliases:
            self._aliases[key] = aliases
        for alias in aliases:
            self._calls[CallKey(key.organization, alias)] = key.call
