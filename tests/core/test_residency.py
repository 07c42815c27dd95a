"""Residency: the ACS resource in the raw id decides, and nothing is ever guessed."""

from __future__ import annotations

import pytest

from gateway.core.residency import Homes, Placement, Residency, Unserved, resource_of

RESOURCE = "11111111-aaaa-1111-1111-111111111111"
USER = "00000013-2ff6-1234-5678-000000000001"


@pytest.mark.parametrize("prefix", ["8:acs:", "8:dod-acs:", "8:gcch-acs:"])
def test_the_resource_stands_before_the_first_underscore(prefix: str) -> None:
    """A communication user of any cloud belongs to the resource in its raw id."""
    assert resource_of(f"{prefix}{RESOURCE}_{USER}") == RESOURCE


def test_a_teams_extension_user_belongs_to_its_resource() -> None:
    """Three parts after the prefix: resource, tenant, object id."""
    assert resource_of(f"8:acs:{RESOURCE}_{USER}_{USER}") == RESOURCE


def test_the_resource_is_compared_without_case() -> None:
    """GUIDs are the same in upper and lower case."""
    assert resource_of(f"8:acs:{RESOURCE.upper()}_{USER}") == RESOURCE


@pytest.mark.parametrize(
    "raw_id",
    [
        "",
        "8:orgid:5d4c2b1a-0000-0000-0000-000000000000",
        "8:dod:5d4c2b1a-0000-0000-0000-000000000000",
        "8:teamsvisitor:abc_def",
        "8:spool:abc_def",
        "4:+14255550123",
        "4:+14255550123_asserted",
        "28:orgid:5d4c2b1a-0000-0000-0000-000000000000",
        f"acs:{RESOURCE}_{USER}",
        f"8:ACS:{RESOURCE}_{USER}",
        f"8:acs:{RESOURCE}",
        f"8:acs:{RESOURCE}_",
        f"8:acs:_{USER}",
        f" 8:acs:{RESOURCE}_{USER}",
        f"8:acs:{RESOURCE}_{USER}\n",
        f"8:acs:{RESOURCE}_a b",
        f"8:acs:../../x_{USER}",
        f"8:acs:{RESOURCE}_{'x' * 512}",
    ],
)
def test_everyone_else_has_no_resource(raw_id: str) -> None:
    """Teams users, telephones, bots and what does not fit the grammar have no ACS resource."""
    assert resource_of(raw_id) is None


def test_a_participant_lives_where_the_resource_is_placed() -> None:
    """A configured resource in a served region is found whatever the case it was written in."""
    placement = Placement(region="europe", organization="contoso")
    residency = Residency({RESOURCE.upper(): placement}, frozenset({"europe"}))
    assert residency.place(f"8:acs:{RESOURCE}_{USER}") == placement


@pytest.mark.parametrize(
    ("raw_id", "reason"),
    [
        (f"8:orgid:{USER}", "no ACS resource"),
        (f"8:acs:22222222-2222-2222-2222-222222222222_{USER}", "not configured"),
        (f"8:acs:{RESOURCE}_{USER}", "not served"),
    ],
)
def test_an_unknown_or_unserved_resource_is_refused(raw_id: str, reason: str) -> None:
    """P6: there is no default region, and the refusal quotes no part of the raw id."""
    residency = Residency({RESOURCE: Placement("asia", "contoso")}, frozenset({"europe"}))
    with pytest.raises(Unserved, match=reason) as refused:
        residency.place(raw_id)
    assert USER not in str(refused.value)
    assert refused.value.code == "region_not_served"


PLACES = [Placement("asia", "contoso"), Placement("europe", "contoso"), Placement("europe", "fabrikam")]
REGIONS = ("africa", "asia", "europe")


@pytest.mark.parametrize(
    ("served", "contoso", "unclaimed", "unserved"),
    [
        (("africa", "asia", "europe"), "asia", "africa", ()),
        (("asia", "europe"), "asia", "asia", ()),
        (("africa", "europe"), "europe", "africa", ("asia",)),
        (("europe",), "europe", "europe", ("asia",)),
    ],
)
def test_a_home_is_the_first_region_that_is_served(
    served: tuple[str, ...], contoso: str, unclaimed: str, unserved: tuple[str, ...]
) -> None:
    """P4: where an organisation's first region is away its next is the home, and what is away is known by name."""
    homes = Homes(PLACES, REGIONS, served)
    assert (homes.of("contoso"), homes.of("fabrikam"), homes.of(""), homes.unclaimed) == (
        contoso,
        "europe",
        unclaimed,
        unclaimed,
    )
    assert homes.unserved("contoso") == unserved
    assert homes.unserved("fabrikam") == ()
    assert set(homes.unserved("")) == set(REGIONS) - set(served)


@pytest.mark.parametrize("organization", ["fabrikam", "nobody"])
def test_an_organisation_without_a_served_region_has_no_home(organization: str) -> None:
    """P6: its calls are kept nowhere; that it exists is known all the same, so that nobody else gets them."""
    homes = Homes(PLACES, REGIONS, ("africa", "asia"))
    with pytest.raises(Unserved):
        homes.of(organization)
    assert homes.organizations == ("contoso", "fabrikam")
