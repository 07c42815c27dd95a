"""The commands `gateway retention …`: policies, holds, sweeps, erasures, and why something is kept.

Rules: they ask the running gateway, or where none runs take the regions' locks; what they print names nobody but whom
the command names, and whom a rule does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from gateway.cli.asking import config_option, either, json_option
from gateway.config import load
from gateway.core import keeping


class Moment(click.ParamType[datetime]):
    """A time on the command line: RFC 3339 with an offset or Z."""

    name = "RFC3339"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """`value` as an aware time in UTC; anything else is bad usage."""
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail("is no time; write it like 2026-11-23T14:00:00Z", param, ctx)
        return moment.astimezone(UTC)


@click.group()
def retention() -> None:
    """Say how long messages are kept, keep them for longer, delete what is due, erase somebody."""


def _scoped(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say whom a rule is about."""
    for name, whose in (
        ("participant", "A participant's raw id"),
        ("thread", "A thread"),
        ("resource", "An ACS resource"),
        ("organization", "An organisation"),
    ):
        option = click.option(f"--{name}", f"{name}s", multiple=True, help=f"{whose} it is about; may be repeated.")
        command = option(command)
    return command


participant_option = click.option("--participant", required=True, metavar="RAWID", help="Whose: an ACS raw id.")


@retention.group()
def policy() -> None:
    """Retention policies: without any that deletes, a message goes after [retention] default_days."""


@policy.command("add")
@click.argument("name")
@click.option("--action", type=click.Choice(keeping.ACTIONS), required=True, help="What it does with a message.")
@click.option("--days", type=click.IntRange(1, keeping.MOST_DAYS), required=True, help="For so long from sending.")
@_scoped
@config_option
def add_policy(name: str, action: str, days: int, config: Path, **scope: tuple[str, ...]) -> None:
    """Set the policy NAME, in place of one of that name; about everyone unless an option says whom."""
    said = keeping.Policy(action=action, days=days, **{each: list(entries) for each, entries in scope.items()})
    either(
        load(config, os.environ),
        lambda gateway: gateway.put(_rule("policies", name), said),
        lambda house: house.retention.set_policy(name, said),
        whole=True,
    )
    click.echo(f"policy {name} is set")


@policy.command("list")
@json_option
@config_option
def list_policies(as_json: bool, config: Path) -> None:
    """List the policies."""
    from gateway.cli import views

    _list("policy", "policies", views.show_json if as_json else views.show_policies, config)


@policy.command("remove")
@click.argument("name")
@config_option
def remove_policy(name: str, config: Path) -> None:
    """Remove the policy NAME; what is stored is judged without it from now on."""
    _remove("policy", "policies", name, config)


@retention.group()
def hold() -> None:
    """Holds: nothing of what they are about is deleted, whatever policies say."""


@hold.command("add")
@click.argument("name")
@click.option("--call", "calls", multiple=True, help="A call whose people it is about; may be repeated.")
@click.option("--reason", default="", help="Why; kept sealed.")
@_scoped
@config_option
def add_hold(name: str, reason: str, config: Path, **scope: tuple[str, ...]) -> None:
    """Set the hold NAME, in place of one of that name; about everyone unless an option says whom."""
    said = keeping.Hold(reason=reason, **{each: list(entries) for each, entries in scope.items()})
    either(
        load(config, os.environ),
        lambda gateway: gateway.put(_rule("holds", name), said),
        lambda house: house.retention.set_hold(name, said),
        whole=True,
    )
    click.echo(f"hold {name} is set")


@hold.command("list")
@json_option
@config_option
def list_holds(as_json: bool, config: Path) -> None:
    """List the holds."""
    from gateway.cli import views

    _list("hold", "holds", views.show_json if as_json else views.show_holds, config)


@hold.command("remove")
@click.argument("name")
@config_option
def remove_hold(name: str, config: Path) -> None:
    """Remove the hold NAME; what is overdue goes with the next sweep."""
    _remove("hold", "holds", name, config)


@retention.command()
@click.option("--now", type=Moment(), help="Delete what is due by then instead of by the clock.")
@json_option
@config_option
def sweep(now: datetime | None, as_json: bool, config: Path) -> None:
    """Delete what expired, in every region, and print what a sweep certifies."""
    from gateway.cli import views
    from gateway.core.types import rfc3339

    answer = either(
        load(config, os.environ),
        lambda gateway: gateway.post("/v1/retention/sweep", {"now": rfc3339(now)} if now else {}),
        lambda house: house.answers.sweep(now),
        whole=True,
    )
    (views.show_json if as_json else views.show_sweep)(answer)


@retention.command()
@participant_option
@json_option
@config_option
def erase(participant: str, as_json: bool, config: Path) -> None:
    """Erase a participant: the last message, and who they were in every call. The proofs stay, and name nobody."""
    from gateway.cli import views

    answer = either(
        load(config, os.environ),
        lambda gateway: gateway.delete(f"/v1/participants/{quote(participant, safe='')}"),
        lambda house: house.retention.erase(participant),
    )
    (views.show_json if as_json else views.show_erasure)(answer)


@retention.command()
@participant_option
@json_option
@config_option
def explain(participant: str, as_json: bool, config: Path) -> None:
    """Say when a participant's message goes, which policy decided that and by which principle, and what holds it."""
    from gateway.cli import views

    answer = either(
        load(config, os.environ),
        lambda gateway: gateway.get(f"/v1/retention/explain/{quote(participant, safe='')}"),
        lambda house: house.retention.explain(participant),
    )
    (views.show_json if as_json else views.show_explanation)(answer)


def _list(kind: keeping.Kind, plural: str, show: Callable[[Any], None], config: Path) -> None:
    show(
        either(
            load(config, os.environ),
            lambda gateway: gateway.get(f"/v1/retention/{plural}")[plural],
            lambda house: house.retention.rules(kind),
            whole=True,
        )
    )


def _remove(kind: keeping.Kind, plural: str, name: str, config: Path) -> None:
    either(
        load(config, os.environ),
        lambda gateway: gateway.delete(_rule(plural, name)),
        lambda house: house.retention.remove(kind, name),
        whole=True,
    )
    click.echo(f"{kind} {name} is removed")


def _rule(plural: str, name: str) -> str:
    return f"/v1/retention/{plural}/{quote(name, safe='')}"
