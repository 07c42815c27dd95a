"""The demo tells the truth: it ends with 0 only if every figure of its meeting is right, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from gateway.client import connect

DEMO = Path(__file__).parents[2] / "scripts" / "demo"
CONTROL_CHARACTER = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def _environment(directory: Path, columns: int) -> dict[str, str]:
    # A setting of another gateway and a stray module where the demo is started must not matter.
    (directory / "meeting.py").write_text("raise SystemExit('the wrong meeting')\n")
    (directory / "temporary").mkdir()
    mine = {"COLUMNS": str(columns), "TMPDIR": str(directory / "temporary"), "GATEWAY_NOTICES__REQUIRE": "received"}
    return {**os.environ, **mine}


def _once(directory: Path, *arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEMO, "--once", *arguments],
        cwd=directory,
        env=_environment(directory, columns),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )


def _row(output: str, *words: str) -> Sequence[str]:
    """The cells of the only line that begins with these words."""
    rows = [line.split() for line in output.splitlines() if line.split()[: len(words)] == list(words)]
    assert len(rows) == 1, (words, rows)
    return rows[0][len(words) :]


@pytest.mark.scenario
def test_the_meeting_ends_with_every_figure_as_demanded(tmp_path: Path) -> None:
    """Exit 0, the gaps with their reasons, what was kept, deleted and erased; plain lines of at most 80 columns."""
    done = _once(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.partition("What was told")[2].partition("Told in")[0]
    for notice, figures in {
        ("recording", "started"): ["26", "25", "24", "2"],
        ("transcription", "started"): ["26", "25", "24", "2"],
        ("recording", "stopped"): ["26", "25", "25", "1"],
    }.items():
        issued_at, owed, reached, _, _, proved, gaps = _row(told, *notice)
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", issued_at)
        assert [owed, reached, proved, gaps] == figures
    assert _row(done.stdout, "recording", "started", "Grace")[0] == "overdue"
    assert _row(done.stdout, "recording", "started", "Marcus")[0] == "unreachable"
    assert "Jonas disconnected" in " ".join(done.stdout.split())
    _kept_and_erased(done.stdout)
    assert re.search(r"^All \d+ figures are as the scenario demands\.$", done.stdout, re.MULTILINE)
    assert not CONTROL_CHARACTER.search(done.stdout)
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert not any((tmp_path / "temporary").iterdir())


def _kept_and_erased(output: str) -> None:
    told = " ".join(output.split())
    assert "out of sight after 7 days and deleted after 14, for retention wins over deletion" in told
    assert "answered 409: held by case-7" in told
    decided = output.partition("What decides")[2].partition("What was deleted")[0]
    assert _row(decided, "Chiara")[-2:] == ["fortnight", "retention_wins"]
    assert _row(decided, "Grace")[-4:] == ["held:", "case-7", "default", "default"]
    messages, _, *decided_by = _row(output, "day", "15", "europe")
    assert (messages, decided_by) == ("1", ["fortnight:", "retention_wins"])
    assert _row(output, "day", "31", "europe")[0] == "2"
    assert _row(output, "day", "31", "unitedstates")[0] == "2"
    assert _row(output, "erasure", "unitedstates")[0] == "1"
    assert "its gaps are (erased) overdue, Marcus unreachable" in told
    assert "26 participants of whom 25 are named" in told
    assert "files in it holds the raw id or the name: Grace. Texts of messages in them: 0." in told


@pytest.mark.scenario
def test_a_second_silent_participant_fails_the_demo(tmp_path: Path) -> None:
    """One more person who does not acknowledge: exit 1, and the figures that differ are named with who it was."""
    done = _once(tmp_path, "--silent", "2", columns=140)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "figures are not as the scenario demands" in done.stdout
    assert _row(done.stdout, "recording", "started:", "proved") == ["24", "23"]
    assert "'Abigail': 'overdue'" in done.stdout
    assert "All " not in done.stdout
    assert not any((tmp_path / "temporary").iterdir())


def test_a_wrong_option_is_bad_usage(tmp_path: Path) -> None:
    """Exit 2 and no meeting."""
    done = _once(tmp_path, "--twice")
    assert done.returncode == 2
    assert done.stdout == ""


@pytest.mark.scenario
async def test_without_once_the_gateway_stays_until_it_is_interrupted(tmp_path: Path) -> None:
    """What is printed is enough to be told and to ask; an interrupt ends every process and removes every file."""
    demo = subprocess.Popen(
        [DEMO],
        cwd=tmp_path,
        env=_environment(tmp_path, 80),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    assert demo.stdout is not None
    try:
        printed: list[str] = []
        for line in demo.stdout:
            printed.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C stops it"):
                break
        url = next(line for line in printed if re.fullmatch(r"ws://127\.0\.0\.1:\d+/v1/ws", line))
        token = next(line for line in printed if re.fullmatch(r"ey[\w-]+\.[\w-]+\.[\w-]+", line))
        async with connect(url, token=token) as client:
            notice = await anext(client.notices("quarterly-review"))
            assert (notice.capability, notice.change) == ("transcription", "started")
            await notice.acknowledge()
        bearer, coverage = next(
            found.groups() for line in printed if (found := re.search(r"(Bearer \w+)' (http://\S+)", line))
        )
        answer = json.loads(httpx.get(coverage, headers={"Authorization": bearer}, trust_env=False).text)
        assert [each["owed"] for each in answer["notices"]] == [26, 27, 26]
        demo.send_signal(signal.SIGINT)
        demo.stdout.read()
        assert demo.wait(30) == 0
        assert not any((tmp_path / "temporary").iterdir())
        with pytest.raises(httpx.ConnectError):
            httpx.get(coverage, trust_env=False)
    finally:
        demo.terminate()
        demo.wait(30)
        demo.stdout.close()
