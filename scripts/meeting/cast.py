"""The cast: who is in the meeting, from which region, in which language, and what each is here to show.

Rules: values only; the resources are those that `gateway init` writes into a new configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RESOURCES: Final = {
    "europe": "11111111-1111-1111-1111-111111111111",
    "unitedstates": "22222222-2222-2222-2222-222222222222",
}
"""Region to the ACS resource whose people's data lives there."""
ELSEWHERE: Final = "8:acs:99999999-9999-9999-9999-999999999999_0000000a-5cdb-4b7e-8a21-52c1f0aa0001"
"""Somebody of a resource that this gateway does not serve."""
TEAMS_USERS: Final = (
    "8:orgid:4f9a0c55-7f0e-4f67-9c9d-3c1d3a3b9a01",
    "8:orgid:4f9a0c55-7f0e-4f67-9c9d-3c1d3a3b9a02",
)
"""Members of the hosting organisation: counted, never stored."""


class Part(StrEnum):
    """What somebody is here to show."""

    ORDINARY = ""
    DROPS = "drops, comes back"
    LATE = "joins late"
    SILENT = "never acknowledges"
    UNREACHED = "never connects"


@dataclass(frozen=True, slots=True)
class Person:
    """One external user. `locale` is a BCP 47 tag; `pause` is how long reading takes, in seconds."""

    name: str
    region: str
    number: int
    locale: str
    part: Part = Part.ORDINARY

    @property
    def participant(self) -> str:
        """The ACS raw id."""
        return f"8:acs:{RESOURCES[self.region]}_{self.number:08x}-2ff6-4d7a-b1c5-a0d3f8e1{self.number:04x}"

    @property
    def pause(self) -> float:
        """Seconds from being told to acknowledging: people read at their own pace."""
        return 0.1 + self.number % 10 * 0.07


def _region(region: str, first: int, people: str) -> list[Person]:
    return [
        Person(name, region, first + number, locale)
        for number, (name, locale) in enumerate(each.split(":") for each in people.split())
    ]


_EUROPE: Final = (
    "Amélie:fr Björn:sv Chiara:it Dominik:de Elena:es Freya:da Grzegorz:pl Hanneke:nl Inês:pt-BR Jonas:de "
    "Klára:cs Lars:nb Matti:fi"
)
_UNITED_STATES: Final = (
    "Abigail:en-US Benjamin:en-US Carmen:es-US Dana:en-US Elijah:en-US Farah:fr-CA Grace:en-US Hiroshi:ja "
    "Imani:en-US Jin:ko Kai:zh-CN Leah:en-US Marcus:en-US"
)
_PARTS: Final = {"Jonas": Part.DROPS, "Leah": Part.LATE, "Grace": Part.SILENT, "Marcus": Part.UNREACHED}


def cast(silent: int) -> tuple[Person, ...]:
    """Everybody; the first `silent` of Grace, Abigail, Benjamin … do not acknowledge (the figures demand one)."""
    people = _region("europe", 0x10, _EUROPE) + _region("unitedstates", 0x20, _UNITED_STATES)
    parts = dict(_PARTS)
    spare = (each.name for each in people if each.region == "unitedstates" and each.name not in parts)
    parts.update((name, Part.SILENT) for name, _ in zip(spare, range(silent - 1), strict=False))
    if silent == 0:
        del parts["Grace"]
    return tuple(
        Person(each.name, each.region, each.number, each.locale, parts.get(each.name, Part.ORDINARY)) for each in people
    )
