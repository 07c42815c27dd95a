"""The house: every room of the gateway built from the settings, with the clock and chance that they are given.

Rules: parts are made here and nowhere else; what a room needs is handed to it; storage is opened before anything
that uses it, and closed after.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from gateway import keys
from gateway.clock import SteadyClock
from gateway.core.call import Policy
from gateway.core.residency import Homes, Placement, Residency, resource_of
from gateway.hub.answers import Answers
from gateway.hub.continuity import Continuity
from gateway.hub.enactment import Enactment
from gateway.hub.evidence import Evidence
from gateway.hub.hub import Hub
from gateway.hub.intake import Intake
from gateway.hub.interpreter import Interpreter
from gateway.hub.ledgers import Ledgers
from gateway.hub.messages import Messages
from gateway.hub.naming import Naming
from gateway.hub.porter import Porter
from gateway.hub.proving import Proving
from gateway.hub.retention import Retention
from gateway.hub.roll import Roll
from gateway.hub.surveys import Surveys
from gateway.hub.sweeper import Sweeper
from gateway.hub.timestamping import Ask, Timestamping
from gateway.hub.witnessing import Witnessing
from gateway.log import logger
from gateway.metrics import Metrics
from gateway.process import random_id
from gateway.settings import Settings
from storage.errors import RegionRefused
from storage.note import Verifier
from storage.retention import Terms
from storage.timestamping import LARGEST_TOKEN, QUERY_TYPE, REPLY_TYPE

_LOG: Final = logger("house")


@dataclass(frozen=True, slots=True)
class House:
    """The parts that doors are put in front of. `troubles` are lasting reasons for not being ready.

    `refused` says of each region that could not be opened why; nobody of it is served.
    """

    settings: Settings
    residency: Residency
    porter: Porter
    ledgers: Ledgers
    metrics: Metrics
    interpreter: Interpreter
    hub: Hub
    intake: Intake
    sweeper: Sweeper
    retention: Retention
    answers: Answers
    proving: Proving
    evidence: Evidence
    witnessing: Witnessing
    timestamping: Timestamping
    troubles: list[str]
    refused: Mapping[str, RegionRefused]
    now: Callable[[], datetime]

    def demand(self, regions: Iterable[str]) -> None:
        """Raise why one of these regions could not be opened, if any could not."""
        for region in sorted(self.refused.keys() & set(regions)):
            raise self.refused[region]

    async def recover(self) -> None:
        """Bring back every call that was on when the process before this one ended, and the rules of retention."""
        await self.retention.align()
        for source, target in (await self.ledgers.merges()).items():
            self.interpreter.registry.names.join(source, target)
        for key, aliases in (await self.ledgers.aliases()).items():
            self.interpreter.registry.names.give(key, aliases)
        for key in await self.ledgers.open_calls():
            await self.interpreter.registry.get(key)

    def observe(self) -> None:
        """Bring the gauges up to date that nothing else keeps."""
        for region, waiting in self.ledgers.queue().items():
            self.metrics.writer_queue(region, waiting)
        self.metrics.gaps_open(self.interpreter.gaps_open())


def _placements(settings: Settings) -> dict[str, Placement]:
    """Which region and organisation each resource was given."""
    return {resource: Placement(each.region, each.organization) for resource, each in settings.resources.items()}


def _policy(settings: Settings) -> Policy:
    """What was configured of calls and notices."""
    return Policy(
        require=settings.notices.require,
        deadline=settings.notices.deadline,
        absence=settings.calls.disconnect,
        participants_observe=settings.calls.participant_observations,
    )


def _authority(settings: Settings) -> Ask | None:
    """How the authority for time stamps is asked, if there is one."""
    url = settings.ledger.timestamps_url
    if url is None:
        return None
    from gateway.outbound import ask  # noqa: PLC0415  # a tenth of each start, and few need it

    return partial(ask, url, asking=QUERY_TYPE, answering=REPLY_TYPE, limit=LARGEST_TOKEN)


def _open(settings: Settings, ledgers: Ledgers, metrics: Metrics) -> dict[str, RegionRefused]:
    """Open every region that can be; returned is why the others cannot. Raises `RegionRefused` where none can."""
    owners = {resource: each.organization for resource, each in settings.resources.items()}
    terms = Terms(settings.retention.default, owners, resource_of)
    refused: dict[str, RegionRefused] = {}
    try:
        for name in sorted(settings.regions):
            directories = settings.storage.directory / name, settings.storage.key_directory / name
            try:
                ledgers.open(name, *directories, settings.ledger.name, terms)
            except RegionRefused as refusal:
                refused[name] = refusal
            metrics.storage_failing(name, name in refused)
        if not ledgers.regions:
            raise next(iter(refused.values()))
    except BaseException:
        for region in ledgers.regions.values():
            region.close()
        raise
    return refused


def build(settings: Settings, now: Callable[[], datetime] | None = None) -> House:
    """Open the regions and build what stands on them, with a clock of its own unless `now` is given.

    A region that cannot be opened is left out: it is logged, and the process is not ready for good. Raises
    `storage.errors.RegionRefused` where none can be opened, and `ConfigError`.
    """
    witnesses = keys.witnesses(settings)
    metrics, troubles = Metrics(), list[str]()

    def broken(trouble: str) -> None:
        _LOG.error("broken", reason=trouble)
        troubles.append(trouble)

    def changed() -> None:
        for region in ledgers.regions:
            metrics.storage_failing(region, region in ledgers.failing)
        _LOG.warning("storage changed", failing=sorted(ledgers.failing))
        house.interpreter.flush()

    ledgers = Ledgers(changed, broken)
    refused = _open(settings, ledgers, metrics)
    for name, refusal in refused.items():
        _LOG.error("region not opened", region=name, reason=str(refusal))
        troubles.append(str(refusal))
    house = _furnish(settings, ledgers, metrics, witnesses, troubles, refused, broken, now or SteadyClock())
    metrics.gather_with(house.observe)
    return house


def _furnish(
    settings: Settings,
    ledgers: Ledgers,
    metrics: Metrics,
    witnesses: Sequence[Verifier],
    troubles: list[str],
    refused: Mapping[str, RegionRefused],
    broken: Callable[[str], None],
    now: Callable[[], datetime],
) -> House:
    """The rooms that stand on open regions."""
    placements = _placements(settings)
    residency = Residency(placements, frozenset(ledgers.regions))
    homes = Homes(placements.values(), settings.regions, ledgers.regions)
    interpreter = Interpreter(ledgers, metrics, _policy(settings), homes, now, random_id, secrets.token_bytes, broken)
    messages = Messages(ledgers, now)
    enactment = Enactment(interpreter, messages, residency)
    sweeper = Sweeper(ledgers, metrics, now, interpreter.forget, lambda reason: _LOG.error("not swept", reason=reason))
    porter = Porter(residency, enactment, metrics)
    known = {"organizations": homes.organizations, "resources": settings.resources.keys()}
    timestamping = Timestamping(ledgers, _authority(settings), metrics)
    return House(
        settings=settings,
        residency=residency,
        porter=porter,
        ledgers=ledgers,
        metrics=metrics,
        interpreter=interpreter,
        hub=Hub(interpreter, messages, porter, Continuity(ledgers, metrics), Roll(settings.listen.max_sessions)),
        intake=Intake(interpreter, enactment),
        sweeper=sweeper,
        retention=Retention(ledgers, sweeper, porter.place, known, now),
        answers=Answers(
            interpreter, Naming(interpreter), Surveys(interpreter.registry.calls, now), sweeper, porter, troubles
        ),
        proving=Proving(ledgers),
        evidence=Evidence(interpreter, timestamping.stamp),
        witnessing=Witnessing(ledgers, witnesses, metrics, now, broken),
        timestamping=timestamping,
        troubles=troubles,
        refused=refused,
        now=now,
    )
