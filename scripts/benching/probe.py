"""A process that asks a gateway one small thing after the other, and says how long the longest answer took.

Rules: one connection, the next question at once after the answer, so that whatever blocks the loop shows; a line on
standard input begins it, the next ends it and is answered by one line of JSON.
"""

from __future__ import annotations

import json
import select
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benching.asking import Desk

PATH: Final = "/healthz"


def ask(connection: HTTPConnection) -> float:
    """Seconds that one answer took."""
    began = time.perf_counter()
    connection.request("GET", PATH)
    connection.getresponse().read()
    return time.perf_counter() - began


def say(answer: dict[str, object]) -> None:
    """One line of JSON, at once."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Probe between one line and the next, for as long as there are lines."""
    connection = HTTPConnection(urlsplit(Desk(Path(sys.argv[1])).url).netloc, timeout=60.0)
    ask(connection)
    # Without a buffer, in which a line could lie while we look whether there is one.
    with open(0, "rb", buffering=0) as lines:
        say({"ready": True})
        while lines.readline():
            times = [ask(connection)]
            while not select.select([lines], [], [], 0)[0]:
                times.append(ask(connection))
            lines.readline()
            say({"longest": max(times), "median": sorted(times)[len(times) // 2]})


if __name__ == "__main__":
    main()
