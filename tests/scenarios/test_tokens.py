"""Tokens on live sockets: where they may stand, when they end, and what a refresh may change."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta

import httpx
import pytest

from gateway.client import connect
from tests.scenarios.events import observed
from tests.scenarios.harness import STATES, Gateway, person
from tests.scenarios.peers import Dial, Ended, Peer

SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60", "LISTEN__ORIGINS": '["https://app.example"]'}
SHORT = timedelta(seconds=2)


async def test_an_expired_token_closes_its_live_socket(gateway: Gateway, dial: Dial, call: str) -> None:
    """T5: when a token expires its socket is closed with 4101 and retry refresh within a second, and not one frame
    follows; who was refreshed in time stays."""
    other, renewed = await dial("other", call), await dial("renewed", call, lifetime=SHORT)
    began = time.time()
    expiring = await dial("anna", call, lifetime=SHORT)
    await renewed.send("refresh", token=gateway.token(renewed.participant, call))
    bye = await expiring.hear("bye")
    assert (bye["code"], bye["retry"]) == (4101, "refresh")
    assert expiring.heard[-1] == bye
    assert await expiring.ended() == 4101
    assert time.time() - began < SHORT.total_seconds() + 2
    await gateway.tell(observed(call))
    for peer in (other, renewed):
        await peer.hear("notice", change="started")
    assert expiring.heard[-1] == bye


async def test_a_refresh_disturbs_nobody(gateway: Gateway, dial: Dial, call: str) -> None:
    """Peer bug 24: a refresh leaves this session, its other devices and everyone else where they are, without a new
    state and without a gap."""
    phone, laptop = await dial("anna", call, device="phone"), await dial("anna", call, device="laptop")
    ben = await dial("ben", call)
    before = [len(peer.heard) for peer in (phone, laptop, ben)]
    for _ in range(20):
        await phone.send("refresh", token=gateway.token(phone.participant, call))
    await gateway.tell(observed(call))
    for peer in (phone, laptop, ben):
        await peer.prove(await peer.hear("notice", change="started"))
    assert [len(peer.heard) for peer in (phone, laptop, ben)] == [count + 2 for count in before]
    assert (await gateway.coverage(call))["complete"] is True


@pytest.mark.parametrize(
    ("who", "calls", "code"),
    [("somebody else", "same", 4401), ("same", "others", 4403), ("other region", "same", 4401)],
)
async def test_a_refresh_cannot_become_another(
    gateway: Gateway, dial: Dial, call: str, who: str, calls: str, code: int
) -> None:
    """T3: a refresh is for the same participant and covers every joined call, or the socket closes."""
    anna = await dial("anna", call)
    participant = {"same": anna.participant, "other region": person("anna", STATES)}.get(who, person("eve"))
    token = gateway.token(participant, call if calls == "same" else f"{call}-other")
    await anna.send("refresh", token=token)
    assert await anna.ended() == code


async def test_a_token_stands_in_the_hello_or_in_authorization(gateway: Gateway, dial: Dial, call: str) -> None:
    """E3, E4: a bearer token on the upgrade is taken; one in the URL, in a cookie or in the sub-protocol is none."""
    token = gateway.token(person("anna"), call)
    bearer = await dial.open(additional_headers={"Authorization": f"Bearer {token}"})
    await bearer.send("hello")
    await bearer.hear("welcome")
    cookie = await dial.open(additional_headers={"Cookie": f"token={token}; session={token}"})
    await cookie.send("hello")
    assert await cookie.ended() == 4401
    async with Dial(gateway) as elsewhere:
        gateway.websocket += f"?token={token}&access_token={token}"
        try:
            in_url = await elsewhere.open()
        finally:
            gateway.websocket = gateway.websocket.partition("?")[0]
        await in_url.send("hello")
        assert await in_url.ended() == 4401
    assert token not in gateway.log.read_text()


async def test_only_our_origins_may_connect(gateway: Gateway) -> None:
    """E2: exactly the configured origins and clients without one are upgraded; every other is answered 403 before."""
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "sec-websocket-protocol": "notices.v1.json",
    }
    url = gateway.websocket.replace("ws://", "http://")
    statuses: dict[str | None, int] = {}
    for origin in (
        None,
        "https://app.example",
        "null",
        "file://",
        "http://app.example",
        "https://app.example:8443",
        "https://evil.app.example",
        "https://evil-app.example",
        "https://app.example.evil.com",
        "https://APP.example",
        "https://app.example/",
        "https://\u0430pp.example".encode().decode("latin-1"),
    ):
        headers = httpx.Headers(upgrade | ({"origin": origin} if origin else {}), encoding="latin-1")
        async with httpx.AsyncClient() as client, client.stream("GET", url, headers=headers) as answer:
            statuses[origin] = answer.status_code
    assert {origin for origin, status in statuses.items() if status == 101} == {None, "https://app.example"}
    assert set(statuses.values()) == {101, 403}


async def test_the_client_refreshes_before_its_token_expires(gateway: Gateway, call: str) -> None:
    """T5: with a token callable the Python client outlives several tokens on one session."""
    asked = 0

    def fresh() -> str:
        nonlocal asked
        asked += 1
        return gateway.token(person("anna"), call, lifetime=SHORT)

    async with asyncio.timeout(15), connect(gateway.websocket, token=fresh) as client:
        await client.join(call)
        session = client.welcome.session
        await asyncio.sleep(SHORT.total_seconds() * 1.6)
        await gateway.tell(observed(call))
        notice = await anext(aiter(client.notices(call)))
        await notice.acknowledge()
        assert client.welcome.session == session
    assert asked >= 2


async def test_attack_tokens_are_refused_at_the_door(gateway: Gateway, dial: Dial, call: str) -> None:
    """T1: unsigned, mis-signed and mangled tokens end with 4401 on the real socket, without saying why."""
    good = gateway.token(person("anna"), call)
    head, body, signature = good.split(".")
    none = "eyJhbGciOiJub25lIn0"
    reasons = set()
    for bad in (
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        "x",
        head,
        "a.b.c",
    ):
        peer = await dial.open()
        await peer.send("hello", token=bad)
        bye = await peer.hear("bye")
        assert (bye["code"], bye["retry"]) == (4401, "never")
        reasons.add(bye["reason"])
        with pytest.raises(Ended):
            await peer.hear("welcome")
    assert len(reasons) == 1
    assert json.dumps(sorted(reasons)).isascii()


async def answer_or_end(peer: Peer) -> str | int:
    """The code of the refusal, or of the close."""
    try:
        return str((await peer.hear("error", id="1"))["code"])
    except Ended as ended:
        return ended.code


async def test_a_join_that_a_refresh_overtook_is_refused(gateway: Gateway, dial: Dial, call: str) -> None:
    """T3: the join waits for its call to be read back; by then the token no longer covers it."""
    for attempt in range(20):
        wanted, other = f"{call}-{attempt}", f"{call}-other"
        peer = await dial(f"anna-{attempt}", wanted, other, join=False)
        refresh = gateway.token(peer.participant, other)
        await peer.send("join", id="1", call=wanted)
        await peer.send("refresh", token=refresh)
        answer = await answer_or_end(peer)
        if answer == "not_your_call":
            break
        # The call was read back before the refresh came: then the session is in a call that it may not be in.
        assert answer == 4403
    else:
        raise AssertionError("no refresh overtook its join")
    await gateway.tell(observed(wanted))
    assert (await gateway.coverage(wanted))["notices"][0]["owed"] == 0
