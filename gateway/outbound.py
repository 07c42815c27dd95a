"""Every HTTP request this program makes: commands to a running gateway's control API, and the clients' key set.

Rules: proxies of the environment are not used for loopback, redirects are never followed, answers are bounded and
times too; a failure is one line, and a refusal by the gateway keeps its own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import httpx
import msgspec

from gateway.core.errors import GatewayError

_PATIENCE: Final = 10.0
_LONG: Final = 600.0
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class NotRunning(GatewayError):
    """No gateway answers at the address."""


class NotFetched(GatewayError):
    """An address does not hold what it should; the message says why, not which."""


class Refused(GatewayError):
    """The running gateway refused the request; the message is its own."""


class ControlClient:
    """The control API of a running gateway at `address`, spoken to with its control token."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str, **query: str | float | None) -> Any:
        """The JSON at `path`. Raises `NotRunning`, `Refused`."""
        given = {name: value for name, value in query.items() if value is not None}
        patience = _PATIENCE + float(given.get("wait", 0.0))
        return self._json(self._request("GET", path, patience=patience, params=given))

    def post(self, path: str, body: object) -> Any:
        """The JSON answer to `body`. Raises `NotRunning`, `Refused`."""
        # A first sweep after a long stop deletes in batches and may take its time.
        return self._json(self._request("POST", path, patience=_LONG, json=body))

    def put(self, path: str, body: object) -> Any:
        """The JSON answer to `body`, which replaces what is at `path`. Raises `NotRunning`, `Refused`."""
        return self._json(self._request("PUT", path, patience=_LONG, json=msgspec.to_builtins(body)))

    def delete(self, path: str) -> Any:
        """The JSON answer to the removal of `path`. Raises `NotRunning`, `Refused`."""
        return self._json(self._request("DELETE", path, patience=_LONG))

    def download(self, path: str, query: Sequence[tuple[str, str]]) -> bytes:
        """What `path` holds, byte for byte; names in `query` may be repeated. Raises `NotRunning`, `Refused`."""
        return self._request("GET", path, patience=_LONG, params=list(query)).content

    def _request(self, method: str, path: str, *, patience: float, **arguments: Any) -> httpx.Response:
        limits = httpx.Timeout(_PATIENCE, read=patience)
        try:
            with httpx.Client(base_url=self._address, headers=self._headers, timeout=limits, trust_env=False) as client:
                answer = client.request(method, path, **arguments)
        except httpx.ConnectError:
            raise NotRunning(f"no gateway answers at {self._address}; start it with `gateway serve`") from None
        except httpx.HTTPError as error:
            raise Refused(f"the gateway did not answer ({type(error).__name__}); see its log") from None
        if answer.is_success:
            return answer
        content = self._json(answer)
        problem = content if isinstance(content, dict) else {}
        words = problem.get("detail") or problem.get("title") or "no reason given"
        raise Refused(f"the gateway refused with {answer.status_code}: {words}")

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            return {}


def fetch(url: str, *, limit: int) -> bytes:
    """What `url` holds, at most `limit` bytes. Raises `NotFetched`."""
    data = bytearray()
    try:
        with httpx.stream("GET", url, timeout=_PATIENCE, follow_redirects=False) as answer:
            if answer.status_code != httpx.codes.OK:
                raise NotFetched(f"answered {answer.status_code}")
            for chunk in answer.iter_bytes():
                data += chunk
                if len(data) > limit:
                    raise NotFetched(f"holds more than {limit} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotFetched(f"cannot be fetched ({type(error).__name__})") from None
    return bytes(data)


async def ask(url: str, question: bytes, *, asking: str, answering: str, limit: int) -> bytes:
    """What `url` answers to `question`, of the media types `asking` and `answering`, at most `limit` bytes.

    Raises `NotFetched`; the caller says how long it may take in all.
    """
    data = bytearray()
    # Unpacked, a short answer could be of any length.
    headers = {"Content-Type": asking, "Accept": answering, "Accept-Encoding": "identity"}
    try:
        outside = httpx.URL(url).host not in _LOOPBACK
        async with (
            httpx.AsyncClient(timeout=_PATIENCE, follow_redirects=False, trust_env=outside) as client,
            client.stream("POST", url, content=question, headers=headers) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise NotFetched(f"answered {answer.status_code}")
            if answer.headers.get("content-type", "").partition(";")[0].strip().lower() != answering:
                raise NotFetched(f"does not answer with {answering}")
            async for chunk in answer.aiter_raw():
                data += chunk
                if len(data) > limit:
                    raise NotFetched(f"answers with more than {limit} bytes")
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        raise NotFetched(f"cannot be asked ({type(error).__name__})") from None
    return bytes(data)
