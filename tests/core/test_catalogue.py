"""The rules of the texts: everyone is told about the right feature, in a language, with provable words."""

from __future__ import annotations

import hashlib

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import catalogue
from gateway.core.types import Capability, Change

EVERY = [(a, b, c) for a in Capability for b in Change for c in catalogue.LOCALES]


def test_there_is_a_text_for_every_change_in_at_least_twelve_locales() -> None:
    """No change of any capability is without words in any locale."""
    assert len(catalogue.LOCALES) >= 12
    for capability, change, locale in EVERY:
        text = catalogue.text(capability, change, locale)
        assert text.locale == locale
        assert text.title.strip()
        assert text.body.strip()
        assert text.link.startswith("https://privacy.microsoft.com/")


def test_every_text_is_told_once_only() -> None:
    """No two changes or features share their words: a copied line would name the wrong one."""
    for locale in catalogue.LOCALES:
        texts = [catalogue.text(a, b, locale) for a in Capability for b in Change]
        assert len({text.title for text in texts}) == len(texts)
        assert len({text.body for text in texts}) == len(texts)


@pytest.mark.parametrize("change", list(Change))
def test_the_recording_text_never_says_transcribed(change: Change) -> None:
    """A notice names its own feature: a known banner tells that a recorded call is being transcribed."""
    recording = catalogue.text(Capability.RECORDING, change, "en")
    transcription = catalogue.text(Capability.TRANSCRIPTION, change, "en")
    assert "transcri" not in (recording.title + recording.body).lower()
    assert "record" in recording.title.lower()
    assert "record" in recording.body.lower()
    assert "record" not in (transcription.title + transcription.body).lower()
    assert "transcri" in transcription.title.lower()
    assert "transcri" in transcription.body.lower()


def test_no_text_presumes_consent() -> None:
    """Being told is not consenting: no text says that staying agrees to anything."""
    for change in Change:
        for capability in Capability:
            text = catalogue.text(capability, change, "en")
            assert "consent" not in (text.title + text.body).lower()
            assert "agree" not in (text.title + text.body).lower()


@pytest.mark.parametrize(
    ("requested", "found"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("DE_ch", "de"),
        ("pt-br", "pt-BR"),
        ("pt-PT", "pt-BR"),
        ("zh-Hans-CN", "zh-CN"),
        ("no", "nb"),
        ("nn-NO", "nb"),
        ("fr-x-private", "fr"),
        ("ja-JP-u-ca-japanese", "ja"),
    ],
)
def test_a_language_tag_finds_its_nearest_locale(requested: str, found: str) -> None:
    """Look-up drops subtags from the right until something fits (RFC 4647 §3.4)."""
    assert catalogue.match(requested) == found


@pytest.mark.parametrize("requested", [None, "", "-", "x", "tlh", "english", "e", "*", "de" * 4000, "\x00", "-de"])
def test_a_tag_without_a_locale_is_told_in_english(requested: str | None) -> None:
    """Nobody stays untold because of a language: what fits nothing gets English."""
    assert catalogue.match(requested) == "en"


@given(st.text(max_size=80))
def test_no_tag_breaks_the_look_up(requested: str) -> None:
    """Whatever a client sends as its locale, the answer is a locale there are texts for."""
    assert catalogue.match(requested) in catalogue.LOCALES


def test_an_unknown_locale_has_no_text() -> None:
    """Only what `match` gives has a text; anything else is a fault of the caller and shows."""
    with pytest.raises(KeyError):
        catalogue.text(Capability.RECORDING, Change.STARTED, "tlh")


@pytest.mark.parametrize(("capability", "change", "locale"), EVERY[::7])
def test_the_digest_is_over_the_canonical_json(capability: Capability, change: Change, locale: str) -> None:
    """A client that follows RFC 8785 by itself comes to the same digest."""
    text = catalogue.text(capability, change, locale)
    document = {
        "notice": "n_1",
        "capability": capability.value,
        "change": change.value,
        "text": {"locale": text.locale, "title": text.title, "body": text.body, "link": text.link},
    }
    expected = "sha256:" + hashlib.sha256(rfc8785.dumps(document)).hexdigest()
    assert catalogue.digest("n_1", capability, change, text) == expected
    assert catalogue.digests("n_1", capability, change)[locale] == expected


def test_other_words_or_another_notice_have_another_digest() -> None:
    """The digest proves which notice was shown and in which words: neither can be swapped."""
    english = catalogue.text(Capability.RECORDING, Change.STARTED, "en")
    french = catalogue.text(Capability.RECORDING, Change.STARTED, "fr")
    digests = {
        catalogue.digest("n_1", Capability.RECORDING, Change.STARTED, english),
        catalogue.digest("n_2", Capability.RECORDING, Change.STARTED, english),
        catalogue.digest("n_1", Capability.TRANSCRIPTION, Change.STARTED, english),
        catalogue.digest("n_1", Capability.RECORDING, Change.RESUMED, english),
        catalogue.digest("n_1", Capability.RECORDING, Change.STARTED, french),
    }
    assert len(digests) == 5
