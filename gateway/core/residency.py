"""Where a person's data must live, and where a call is at home: the ACS resources of its people decide.

Rules: a resource that is unknown or whose region is not served is refused, never guessed and never replaced
by a default; a raw id without an ACS resource (Teams users, telephones, bots) has no place here at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.core.errors import Refusal

RAW_ID_LIMIT: Final = 512
"""The longest raw id taken, in characters."""

_COMMUNICATION_USER: Final = re.compile(r"8:(?:acs|dod-acs|gcch-acs):(?P<resource>[0-9A-Za-z-]+)_(?P<user>[!-~]+)")


def resource_of(raw_id: str) -> str | None:
    """The ACS resource in `raw_id`, in lower case; None for everyone who is not a user of an ACS resource.

    The grammar is that of the Azure SDKs: `8:acs:<resource>_<user>`, in the sovereign clouds `8:dod-acs:` and
    `8:gcch-acs:`; a Teams extension user (`<resource>_<tenant>_<user>`) belongs to its resource too.
    """
    if len(raw_id) > RAW_ID_LIMIT:
        return None
    found = _COMMUNICATION_USER.fullmatch(raw_id)
    return found["resource"].lower() if found else None


@dataclass(frozen=True, slots=True)
class Placement:
    """The region that holds a resource's personal data, and the organisation the resource belongs to."""

    region: str
    organization: str


class Unserved(Refusal):
    """This process may not hold that person's data: bye 4301 for a client, 404 over HTTP."""

    def __init__(self, reason: str) -> None:
        super().__init__("region_not_served", reason, status=404)


class Residency:
    """Answers where a participant's data lives, for the resources and regions of one process."""

    def __init__(self, resources: Mapping[str, Placement], served: frozenset[str]) -> None:
        """`resources` by resource id (any case); `served` names the regions this process holds."""
        self._resources = {resource.lower(): placement for resource, placement in resources.items()}
        self._served = served

    def place(self, raw_id: str) -> Placement:
        """The placement of the participant with this raw id; raises `Unserved` if it has none here."""
        resource = resource_of(raw_id)
        if resource is None:
            raise Unserved("the participant belongs to no ACS resource")
        placement = self._resources.get(resource)
        if placement is None:
            raise Unserved("the participant's ACS resource is not configured")
        if placement.region not in self._served:
            raise Unserved("the region of the participant's ACS resource is not served here")
        return placement


class Homes:
    """Answers where the calls of an organisation are at home: in the first by name of its regions that are served."""

    def __init__(self, placements: Iterable[Placement], regions: Collection[str], served: Collection[str]) -> None:
        """`placements` are those of all resources; of the configured `regions`, `served` are held by this process."""
        self._regions: dict[str, set[str]] = {"": set(regions)}
        for placement in placements:
            self._regions.setdefault(placement.organization, set()).add(placement.region)
        self._served = frozenset(served)
        self.organizations = tuple(sorted(each for each in self._regions if each))
        self.unclaimed = min(served)
        """Where what belongs to no organisation or to no call is kept."""

    def of(self, organization: str) -> str:
        """The home of the organisation's calls, under "" of those that nobody claims.

        Raises `Unserved` for an organisation that is not configured or has no region here.
        """
        served = self._regions.get(organization, set()) & self._served
        if not served:
            raise Unserved("the organisation has no resource here")
        return min(served)

    def unserved(self, organization: str) -> tuple[str, ...]:
        """The organisation's regions that are not served, by name: what they know of its calls is not known here."""
        return tuple(sorted(self._regions.get(organization, set()) - self._served))
