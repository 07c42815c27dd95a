"""The house: every room of the gateway built from the settings, with the clock and chance that they are given.

Rules: parts are made here and nowhere else; what a room needs is handed to it; storage is opened before anything
that uses it, and closed after.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from gateway import keys
from gateway.clock import SteadyClock
from gateway.core.call import Policy
from gateway.core.ids import written
from gateway.core.residency import Placement, Residency, resource_of
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
from gateway.hub.proving import Proving
from gateway.hub.sweeper import Sweeper
from gateway.hub.timestamping import Ask, Timestamping
from gateway.hub.witnessing import Witnessing
from gateway.log import logger
from gateway.metrics import Metrics
from gateway.outbound import ask
from gateway.settings import Settings
from storage.retention import Terms
from storage.timestamping import LARGEST_TOKEN, QUERY_TYPE, REPLY_TYPE

_LOG: Final = logger("house")


def random_id(prefix: str) -> str:
    """A new id: the prefix and 128 random bits."""
    return written(prefix, secrets.token_bytes(16))


@dataclass(frozen=True, slots=True)
class House:
    """The parts that doors are put in front of. `troubles` are lasting reasons for not being ready."""

    settings: Settings
    residency: Residency
    ledgers: Ledgers
    metrics: Metrics
    interpreter: Interpreter
    hub: Hub
    intake: Intake
    sweeper: Sweeper
    answers: Answers
    proving: Proving
    evidence: Evidence
    witnessing: Witnessing
    timestamping: Timestamping
    troubles: list[str]
    now: Callable[[], datetime]

    async def recover(self) -> None:
        """Bring back every call that was on when the process before this one ended."""
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


def residency_of(settings: Settings) -> Residency:
    """Which regions are served, and whose data belongs where."""
    resources = {resource: Placement(each.region, each.organization) for resource, each in settings.resources.items()}
    return Residency(resources, frozenset(settings.regions))


def homes_of(settings: Settings) -> dict[str, str]:
    """Each organisation's home region, the first by name among its own; under "" that of unclaimed calls."""
    homes = {"": min(settings.regions)}
    for resource in sorted(settings.resources.values(), key=lambda each: each.region):
        homes.setdefault(resource.organization, resource.region)
    return homes


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
    return partial(ask, url, asking=QUERY_TYPE, answering=REPLY_TYPE, limit=LARGEST_TOKEN)


def _open(settings: Settings, ledgers: Ledgers, metrics: Metrics) -> None:
    """Open every region, or none. Raises `RegionRefused`."""
    owners = {resource: each.organization for resource, each in settings.resources.items()}
    terms = Terms(settings.retention.default, owners, resource_of)
    try:
        for name in sorted(settings.regions):
            directories = settings.storage.directory / name, settings.storage.key_directory / name
            ledgers.open(name, *directories, settings.ledger.name, terms)
            metrics.storage_failing(name, False)
    except BaseException:
        for region in ledgers.regions.values():
            region.close()
        raise


def build(settings: Settings, now: Callable[[], datetime] | None = None) -> House:
    """Open every region and build what stands on them, with a clock of its own unless `now` is given.

    Raises `storage.errors.RegionRefused`, `ConfigError`.
    """
    now = now or SteadyClock()
    troubles: list[str] = []
    metrics = Metrics()
    residency, homes = residency_of(settings), homes_of(settings)

    def broken(trouble: str) -> None:
        _LOG.error("broken", reason=trouble)
        troubles.append(trouble)

    def changed() -> None:
        for region in ledgers.regions:
            metrics.storage_failing(region, region in ledgers.failing)
        _LOG.warning("storage changed", failing=sorted(ledgers.failing))
        interpreter.flush()

    ledgers = Ledgers(changed, broken)
    interpreter = Interpreter(ledgers, metrics, _policy(settings), homes, now, random_id, secrets.token_bytes, broken)
    messages = Messages(ledgers, now)
    enactment = Enactment(interpreter, messages, residency, homes[""])
    intake = Intake(interpreter, enactment, homes[""])
    sweeper = Sweeper(ledgers, metrics, now, lambda reason: _LOG.error("not swept", reason=reason))
    answers = Answers(interpreter, Naming(interpreter), sweeper, residency, troubles)
    hub = Hub(interpreter, messages, enactment, Continuity(ledgers, metrics))
    witnessing = Witnessing(ledgers, keys.witnesses(settings), metrics, now, broken)
    timestamping = Timestamping(ledgers, _authority(settings), metrics)
    _open(settings, ledgers, metrics)
    house = House(
        settings=settings,
        residency=residency,
        ledgers=ledgers,
        metrics=metrics,
        interpreter=interpreter,
        hub=hub,
        intake=intake,
        sweeper=sweeper,
        answers=answers,
        proving=Proving(ledgers),
        evidence=Evidence(interpreter, timestamping.stamp),
        witnessing=witnessing,
        timestamping=timestamping,
        troubles=troubles,
        now=now,
    )
    metrics.gather_with(house.observe)
    return house
