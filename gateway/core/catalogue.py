"""Which text tells a change of a capability, in which language, and the digest that proves which it was.

Rules: everyone gets a text, English where nothing fits; the same notice in the same locale has the same bytes
always and everywhere; every text links the privacy statement.
"""

from __future__ import annotations

from functools import cache, lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from gateway.core.texts import TEXTS
from gateway.core.types import Capability, Change

FALLBACK: Final = "en"
LOCALES: Final[tuple[str, ...]] = tuple(TEXTS)
"""The locales a notice can be told in, as BCP 47 tags."""

PRIVACY_STATEMENT: Final = "https://privacy.microsoft.com/privacystatement#mainnoticetoendusersmodule"

_BY_LOWER_CASE: Final = {locale.lower(): locale for locale in LOCALES} | {
    "pt": "pt-BR",
    "zh": "zh-CN",
    "no": "nb",
    "nn": "nb",
}
_LONGEST_TAG: Final = 64


class Text(NamedTuple):
    """What a participant reads: `link` is where the privacy statement stands."""

    locale: str
    title: str
    body: str
    link: str


def _table() -> dict[tuple[Capability, Change, str], Text]:
    return {
        (capability, change, locale): Text(locale, title, body, PRIVACY_STATEMENT)
        for locale, features in TEXTS.items()
        for capability, lines in zip(Capability, features, strict=True)
        for change, (title, body) in zip(Change, lines, strict=True)
    }


_TABLE: Final = _table()


def match(requested: str | None) -> str:
    """The locale to use for the language tag `requested`, by RFC 4647 §3.4 lookup; never fails.

    A tag for which only a sibling exists (`pt-PT`) gets the sibling rather than English.
    """
    if not requested or len(requested) > _LONGEST_TAG:
        return FALLBACK
    subtags = requested.strip().lower().replace("_", "-").split("-")
    while subtags:
        found = _BY_LOWER_CASE.get("-".join(subtags))
        if found is not None:
            return found
        subtags.pop()
        if subtags and len(subtags[-1]) == 1:
            subtags.pop()
    return FALLBACK


def text(capability: Capability, change: Change, locale: str) -> Text:
    """The text for one of `LOCALES` (see `match`). Raises `KeyError` for any other locale."""
    return _TABLE[capability, change, locale]


def digest(notice: str, capability: Capability, change: Change, text: Text) -> str:
    """`sha256:` and the hex of the canonical JSON (RFC 8785) of notice id, capability, change and text.

    What a client sends back from level `displayed` upward, to prove which words it showed.
    """
    before, behind = _canonical(capability, change, text)
    return "sha256:" + sha256(before + msgspec.json.encode(notice) + behind).hexdigest()


def digests(notice: str, capability: Capability, change: Change) -> dict[str, str]:
    """The digest of a notice in every locale."""
    before, _ = _canonical(capability, change, text(capability, change, FALLBACK))
    begun = before + msgspec.json.encode(notice)
    return {locale: "sha256:" + sha256(begun + behind).hexdigest() for locale, behind in _endings(capability, change)}


@cache
def _endings(capability: Capability, change: Change) -> tuple[tuple[str, bytes], ...]:
    return tuple((each, _canonical(capability, change, text(capability, change, each))[1]) for each in LOCALES)


@lru_cache(maxsize=1024)
def _canonical(capability: Capability, change: Change, text: Text) -> tuple[bytes, bytes]:
    """What stands before and behind the notice's id: the same for every notice of a kind."""
    document = {"capability": capability, "change": change, "notice": "", "text": text._asdict()}
    before, _, behind = msgspec.json.encode(document, order="sorted").partition(b'"notice":""')
    return before + b'"notice":', behind
