"""What a bench asks of a gateway's control API.

Rules: the gateway is found by its configuration, like by any operator; an answer that is no 200 ends the bench.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from gateway import config, keys, ready
from load.metrics import read


class Desk:
    """The control API of the gateway with this configuration; `url` is where it answers."""

    def __init__(self, path: Path) -> None:
        settings = config.load(path, os.environ)
        found = ready.read(settings.storage.directory)
        if found is None:
            raise SystemExit(f"bench: no gateway runs with {path}")
        self.url = found.control
        bearer = {"authorization": f"Bearer {keys.control_token(settings)}"}
        self._http = httpx.Client(base_url=self.url, headers=bearer, trust_env=False, timeout=60.0)

    def ask(self, path: str) -> httpx.Response:
        """The whole answer to a GET."""
        answer = self._http.get(path)
        if answer.status_code != 200:
            raise SystemExit(f"bench: {path} was answered {answer.status_code}")
        return answer

    def lag(self) -> dict[float, int]:
        """How often the gateway's loop was late by at most so many seconds, since it started."""
        return read(self.ask("/metrics").text).lag

    def coverage(self) -> str:
        """The path of the coverage of the one call there is."""
        calls: list[dict[str, Any]] = self.ask("/v1/calls").json()["calls"]
        (call,) = calls
        return f"/v1/calls/{quote(call['call'], safe='')}/coverage?{urlencode({'organization': call['organization']})}"
