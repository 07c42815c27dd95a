"""Running it: ready and gone, one writer, draining, metrics, and a log that says nothing of anybody."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import socket
import stat
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.scenarios.events import call_ended, event, joined, message, observed
from tests.scenarios.harness import REGIONS, Gateway, person
from tests.scenarios.peers import Dial

SETTINGS = {"NOTICES__DEADLINE_SECONDS": "60", "LOG__LEVEL": "debug"}

METRICS = (
    'gateway_notices_issued_total{capability="recording",change="started"}',
    "gateway_notices_sent_total",
    "gateway_frames_sent_total",
    'gateway_receipts_total{level="acknowledged"}',
    'gateway_events_total{outcome="accepted"}',
    'gateway_events_total{outcome="duplicate"}',
    'gateway_events_total{outcome="refused"}',
    "gateway_sessions",
    "gateway_gaps_open",
    'gateway_writer_queue{region="europe"}',
    'gateway_storage_failing{region="europe"}',
    "gateway_event_to_last_frame_seconds_count",
    "gateway_ack_to_durable_seconds_count",
    "gateway_event_loop_lag_seconds_count",
    "gateway_sweep_seconds_count",
    "gateway_sweep_deleted_total",
)


async def test_a_drain_sends_everyone_away_and_ends_with_0(own_gateway: Gateway) -> None:
    """SIGTERM: goaway to each, then bye 4001 with retry reconnect, exit status 0 within 10 s; what was proved before
    is durable, and the next process has it."""
    gateway = own_gateway.start()
    async with Dial(gateway) as dial:
        peers = await dial.many([f"user{number}" for number in range(30)], "call")
        await gateway.tell(observed("call"))
        receipt = await peers[0].prove(await peers[0].hear("notice", change="started"))
        began = time.monotonic()
        ending = asyncio.create_task(asyncio.to_thread(gateway.terminate, 10))
        for peer in peers:
            assert (await peer.hear("goaway"))["reconnect_after_ms"] >= 0
            bye = await peer.hear("bye")
            assert (bye["code"], bye["retry"]) == (4001, "reconnect")
            assert await peer.ended() == 4001
        assert await ending == 0
        assert time.monotonic() - began < 10
    gateway.start()
    assert (await gateway.entries())[receipt["entry"]]["level"] == "acknowledged"
    assert (await gateway.get("/v1/calls/call"))["present"] == 30


async def test_a_drain_does_not_wait_for_those_who_do_not_read(own_gateway: Gateway) -> None:
    """SIGTERM: neither a client that never answers, nor a connection without a hello, nor a coverage that somebody
    waits for, keeps the process beyond 10 s."""
    gateway = own_gateway.start()
    async with Dial(gateway) as dial:
        stalled = await dial("anna", "call", receive_buffer=4096)
        await dial.open()
        await gateway.tell(observed("call"))
        waiting = asyncio.create_task(gateway.ask("GET", "/v1/calls/call/coverage", params={"wait": 60}))
        for number in range(300):
            await stalled.write(json.dumps({"type": "join", "id": str(number), "call": "call"}))
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(gateway.terminate, 10) == 0
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_second_gateway_on_the_same_data_is_refused(own_gateway: Gateway) -> None:
    """F21: one writer owns a region; a second `serve` says so in one line, exits with 2 and disturbs nothing."""
    gateway = own_gateway.start()
    note = (gateway.data / "ready.json").read_bytes()
    second = await asyncio.to_thread(gateway.run, "serve")
    assert second.returncode == 2
    assert second.stdout == ""
    assert len(second.stderr.splitlines()) == 1
    assert "Traceback" not in second.stderr
    assert (gateway.data / "ready.json").read_bytes() == note
    async with Dial(gateway) as dial:
        await dial("anna", "call")


async def test_the_note_names_the_real_address_and_goes(own_gateway: Gateway) -> None:
    """`ready.json` is private, names the real ports, is removed on exit, and what a killed process left is replaced."""
    gateway, note = own_gateway, own_gateway.data / "ready.json"
    gateway.start()
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert json.loads(note.read_bytes())["control"] == gateway.control
    gateway.kill()
    assert note.exists()
    left = await asyncio.to_thread(gateway.run, "calls")
    assert (left.returncode, len(left.stderr.splitlines())) == (2, 1)
    gateway.start()
    assert json.loads(note.read_bytes())["control"] == gateway.control
    shown = await asyncio.to_thread(gateway.run, "calls", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert await asyncio.to_thread(gateway.terminate) == 0
    assert not note.exists()


async def test_commands_answer_with_and_without_a_gateway(own_gateway: Gateway) -> None:
    """`gateway coverage` and `retention sweep` say the same through the control API and, without a gateway, by
    taking the regions themselves."""
    gateway = own_gateway.start()
    await gateway.tell(joined("call", person("anna")), observed("call"))
    live = await asyncio.to_thread(gateway.run, "coverage", "call", "--json")
    assert await asyncio.to_thread(gateway.terminate) == 0
    offline = await asyncio.to_thread(gateway.run, "coverage", "call", "--json")
    for shown in (live, offline):
        assert shown.returncode in (0, 1)
        assert [each["participant"] for each in json.loads(shown.stdout)["notices"][0]["gaps"]] == [person("anna")]
    swept = await asyncio.to_thread(gateway.run, "retention", "sweep", "--json")
    assert (swept.returncode, json.loads(swept.stdout)["deleted"]) == (0, 0)


async def test_every_metric_is_there(gateway: Gateway, dial: Dial, call: str) -> None:
    """Counters, gauges and histograms of what happened are on /metrics, and no label names anybody."""
    peer = await dial("anna", call)
    start = observed(call)
    await gateway.tell(start, start, {"no": "event"})
    await peer.prove(await peer.hear("notice", change="started"))
    await asyncio.sleep(1.1)
    text = (await gateway.ask("GET", "/metrics", headers={})).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    missing = [name for name in METRICS if name not in values]
    assert missing == []
    positive = [name for name in METRICS if "queue" not in name and "failing" not in name and "deleted" not in name]
    assert [name for name in positive if float(values[name]) <= 0 and name != "gateway_gaps_open"] == []
    assert call not in text
    assert "anna" not in text


def _rude(target: str, needle: str) -> list[bytes]:
    """Requests whose path, headers and method try to forge lines of the log."""
    forged = f"\x1b[31m{needle}\x1b[0m"
    return [
        f"GET {target}?token={needle} HTTP/1.1\r\nHost: {needle}\r\nUser-Agent: {forged}\r\n\r\n".encode(),
        f"GET /%0d%0a{needle}%1b[2J HTTP/1.1\r\nHost: x\r\nCookie: session={needle}\r\n\r\n".encode(),
        f"{needle} / HTTP/9.9\r\n\r\n".encode(),
        f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nX: {needle}\r\n folded {needle}\r\n\r\n".encode(),
        f"POST /v1/events?code={needle} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{needle}".encode(),
    ]


def _send(address: str, request: bytes) -> None:
    host, port = re.sub(r"^\w+://|/.*", "", address).split(":")
    with closing(socket.create_connection((host, int(port)), 5)) as made:
        made.sendall(request)
        made.settimeout(0.3)
        with suppress(OSError):
            while made.recv(65536):
                continue


async def test_the_log_is_one_json_line_each_and_names_nobody(own_gateway: Gateway) -> None:
    """L1, L2, E4: with needles in names, devices, messages, threads, tokens, headers, paths (CR, LF and ANSI
    among them) and malformed events, at level debug, every line of the log is one JSON object and none has a needle."""
    gateway, needle = own_gateway.start(), secrets.token_hex(10)
    who = person(f"anna-{needle}")
    async with Dial(gateway) as dial:
        peer = await dial(who, "call", name=f"Anna {needle}", device=f"d\n{needle}")
        token = gateway.token(who, "call")
        await gateway.tell(
            joined("call", person(f"ben-{needle}"), f"Ben {needle}"),
            message(who, f"text {needle}", thread=f"thread-{needle}"),
            event("notices.capability.observed", {"call": f"a\r\n{needle}", "capability": needle, "state": needle}),
            {"specversion": "1.0", "type": f"of {needle}", "source": needle, "id": needle},
            observed("call"),
        )
        await peer.prove(await peer.hear("notice", change="started"))
        await peer.say(f"more {needle}")
        await gateway.get(f"/v1/messages/{who}")
        await gateway.ask("GET", f"/v1/nothing/{needle}", headers={"user-agent": f"x {needle}"})
        bad = await dial.open(f"{needle}")
        await bad.write(f'{{"type":"{needle}","token":"{needle}"}}')
        await bad.ended()
        worse = await dial.open()
        await worse.send("hello", token=f"{token[:-4]}{needle}")
        assert await worse.ended() == 4401
        for address, target in ((gateway.websocket, "/v1/ws"), (gateway.control, "/v1/events")):
            for request in _rude(target, needle):
                await asyncio.to_thread(_send, address, request)
        await peer.join("call")
        await gateway.tell(call_ended("call"))
    assert await asyncio.to_thread(gateway.terminate) == 0
    log = gateway.log.read_text()
    assert needle not in log
    assert token not in log
    assert gateway.control_token not in log
    assert gateway.webhook_secret not in log
    lines = gateway.log_lines()
    assert lines
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        assert {"at", "level", "logger", "event"} <= json.loads(line).keys()
    assert [entry for entry in gateway.written() if needle in json.dumps(entry)] == []


@pytest.mark.parametrize("fault", ["unknown key", "no keys", "unserved region"])
def test_what_the_user_did_wrong_is_said_in_one_line(own_gateway: Gateway, fault: str) -> None:
    """A refusal to start is one line without a traceback, and exit status 2."""
    configuration = own_gateway.directory / "gateway.toml"
    if fault == "unknown key":
        configuration.write_text(configuration.read_text().replace("[notices]", "[notices]\nrequired = 1"))
    elif fault == "no keys":
        own_gateway.start().kill()
        for region in REGIONS:
            (own_gateway.directory / "keys" / region / "master.key").unlink()
    else:
        configuration.write_text(configuration.read_text().replace("[regions.unitedstates]", ""))
    refused = own_gateway.run("serve")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert len(refused.stderr.splitlines()) == 1
    assert "Traceback" not in refused.stderr


async def test_no_file_limit_is_left_unused(gateway: Gateway) -> None:
    """E14: the process raises its file limit as far as the system allows."""
    limits = Path(f"/proc/{gateway.process.pid}/limits").read_text()
    soft, hard = limits.partition("Max open files")[2].split()[:2]
    assert soft == hard
    assert os.getpgid(gateway.process.pid) == gateway.process.pid
