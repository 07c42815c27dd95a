"""A real gateway process to be started, killed and started again, with its control API and its files at hand.

Rules: the process has a process group and a temporary directory of its own and listens on ports the system chose;
what a test wants to know of it is asked over a socket or read from its files, never from inside.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from gateway import keys
from gateway.cli.init import initialise
from gateway.config import load
from gateway.core.tokens import mint
from gateway.core.types import Role
from storage.engine import connect_reader
from tests.scenarios.events import Event

EUROPE = "11111111-1111-1111-1111-111111111111"
STATES = "22222222-2222-2222-2222-222222222222"
FABRIKAM = "33333333-3333-3333-3333-333333333333"
NOWHERE = "99999999-9999-9999-9999-999999999999"
"""Resources: two regions of one organisation, another organisation, and one that nobody configured."""

REGIONS = ("europe", "unitedstates")

_MORE = f"""
[resources."{FABRIKAM}"]
region = "europe"
organization = "fabrikam"
"""
_PORTS = {"GATEWAY_LISTEN__ADDRESS": "127.0.0.1:0", "GATEWAY_CONTROL__ADDRESS": "127.0.0.1:0"}

Json = dict[str, Any]


def person(user: str, resource: str = EUROPE) -> str:
    """The raw id of a user of an ACS resource."""
    return f"8:acs:{resource}_{user}"


class Gateway:
    """One data directory and, between `start` and `kill` or `terminate`, the process that serves it."""

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are keys of the configuration as environment variables name them, without the prefix."""
        initialise(directory)
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        with (directory / "gateway.toml").open("a") as file:
            file.write(_MORE)
        overrides = {f"GATEWAY_{key}": value for key, value in (settings or {}).items()}
        self.environment = {**os.environ, **_PORTS, **overrides}
        self._settings = load(directory / "gateway.toml", {**_PORTS, **overrides})
        self._signing_key = keys.signing_key(self._settings)
        self.control_token = keys.control_token(self._settings)
        self.webhook_secret = keys.webhook_secret(self._settings)
        self._http = httpx.Client(verify=False, timeout=30.0)
        self.under: Sequence[str] = ()
        """A command that watches the gateway, such as strace with its options."""
        self.program: Sequence[str] = ("-m", "gateway")
        self._process: subprocess.Popen[bytes] | None = None
        self.websocket = ""
        self.control = ""

    # -- the process ---------------------------------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None, "the gateway is not running"
        return self._process

    @property
    def pid(self) -> int:
        """The gateway's own process, whoever watches it."""
        if not self.under:
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def start(self) -> Self:
        """Start the process and wait for its ready line."""
        self._process = self.spawn()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the gateway did not start ({self._process.wait(10.0)}): {self.log.read_text()[-2000:]}"
        ready = json.loads(line)
        assert ready["ready"] is True
        self.websocket, self.control = ready["websocket"], ready["control"]
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        """`python -m gateway serve` on this directory, in a process group of its own."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    *(*self.under, sys.executable, *self.program),
                    *("serve", "--config", str(self.directory / "gateway.toml")),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill the process group with SIGKILL."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._reap(10.0)

    def terminate(self, seconds: float = 10.0) -> int:
        """Ask the process to end and return its exit status; raises `subprocess.TimeoutExpired`."""
        os.kill(self.pid, signal.SIGTERM)
        return self._reap(seconds)

    def _reap(self, seconds: float) -> int:
        process = self.process
        status = process.wait(seconds)
        assert process.stdout is not None
        process.stdout.close()
        self._process = None
        return status

    def restart(self) -> Self:
        """Kill with SIGKILL and start again."""
        self.kill()
        return self.start()

    def close(self) -> None:
        """Leave nothing running and nothing open."""
        self.kill()
        self._http.close()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of the console script on this directory."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments, "--config", str(self.directory / "gateway.toml")],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=30,
        )

    def offline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The verifier, which knows no gateway, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "storage.audit", *arguments], capture_output=True, text=True, timeout=60
        )

    def run_verifier(self, region: str) -> subprocess.CompletedProcess[str]:
        """`gateway ledger verify` of a region, as an auditor runs it."""
        key = self.directory / "keys" / region / "verifier.vkey"
        return subprocess.run(
            [sys.executable, "-m", "gateway", "ledger", "verify", str(self.data / region), "--key", str(key)],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def rss(self) -> int:
        """Bytes of memory the process holds."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def open_files(self) -> list[Path]:
        """Every regular file the process has open, deleted ones too."""
        found = []
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                target = entry.readlink()
                if target.is_absolute() and target.parts[1] not in ("dev", "proc"):
                    found.append(target)
        return found

    # -- its doors -----------------------------------------------------------------------------------------------

    def token(
        self,
        participant: str,
        *calls: str,
        lifetime: timedelta = timedelta(hours=1),
        observer: bool = False,
        name: str | None = None,
    ) -> str:
        """A token as the application that owns the signing key issues it."""
        now = datetime.now(UTC)
        return mint(
            self._signing_key,
            issuer=self._settings.clients.issuer,
            audience=self._settings.clients.audience,
            participant=participant,
            calls=calls,
            now=now,
            expires_at=now + lifetime,
            role=Role.OBSERVER if observer else Role.PARTICIPANT,
            name=name,
        )

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request to the control API with its token, unless `headers` say otherwise."""
        options.setdefault("headers", {"authorization": f"Bearer {self.control_token}"})
        return await asyncio.to_thread(self._http.request, method, self.control + path, **options)

    async def get(self, path: str, **parameters: str | float) -> Json:
        """The JSON answer of a route that must answer 200."""
        answer = await self.ask("GET", path, params=parameters)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        found: Json = answer.json()
        return found

    async def coverage(self, call: str, **parameters: str | float) -> Json:
        """Who was told what in a call."""
        return await self.get(f"/v1/calls/{quote(call, safe='')}/coverage", **parameters)

    async def post(self, *events: Event) -> httpx.Response:
        """Events as a source posts them."""
        return await self.ask("POST", "/v1/events", headers={"x-webhook-secret": self.webhook_secret}, json=events)

    async def tell(self, *events: Event) -> Json:
        """Events that must be taken; returns how many were accepted, duplicates, and refused."""
        answer = await self.post(*events)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        taken: Json = answer.json()
        return taken

    async def entries(self, region: str = "europe", start: int = 0) -> list[Json]:
        """A region's ledger, as the API gives it."""
        answer = await self.ask("GET", f"/v1/ledgers/{region}/entries", params={"from": start})
        assert answer.status_code == 200
        return [json.loads(line) for line in answer.content.splitlines()]

    # -- its files -----------------------------------------------------------------------------------------------

    def select(self, region: str, query: str) -> list[tuple[Any, ...]]:
        """What a region's file says to SQL, whether the process lives or not."""
        with closing(connect_reader(self.data / region / "region.db")) as connection:
            return list(connection.execute(query).fetchall())

    def written(self, region: str = "europe") -> list[Json]:
        """A region's ledger as it lies in its file; fails if the sequence has a hole."""
        rows = self.select(region, "SELECT seq, leaf FROM entries ORDER BY seq")
        assert [seq for seq, _ in rows] == list(range(len(rows)))
        return [json.loads(leaf) for _, leaf in rows]

    def log_lines(self) -> list[str]:
        """Every line written to standard error."""
        return self.log.read_text().splitlines()


def gaps(coverage: Json, change: str = "started") -> dict[str | None, str]:
    """The gaps of the one notice about `change`: participant → reason."""
    (notice,) = (each for each in coverage["notices"] if each["change"] == change)
    return {gap["participant"]: gap["reason"] for gap in notice["gaps"]}


def of_kind(entries: Sequence[Json], kind: str, **fields: Any) -> list[Json]:
    """The entries of one kind whose fields are these."""
    return [each for each in entries if each["kind"] == kind and all(each.get(name) == fields[name] for name in fields)]


def proofs(entries: Sequence[Json], **fields: Any) -> list[Json]:
    """What clients proved with these fields, each as an entry of its own says it, also where many share one."""
    found = of_kind(entries, "level")
    names = ("presence", "session", "reported_at", "device")
    for each in of_kind(entries, "levels"):
        found += [{**each, **dict(zip(names, proof, strict=True))} for proof in each["proofs"]]
    return [each for each in found if all(each.get(name) == fields[name] for name in fields)]
