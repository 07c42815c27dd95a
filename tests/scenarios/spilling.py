"""The gateway, made to need much temporary room: `python -m tests.scenarios.spilling WHOSE STORE serve …`.

With WHOSE `own` every connection of its engine needs it, with `system` one of the system's SQLite does, which is built
to heed `PRAGMA temp_store`, while our engine is built to keep to memory whatever it is told. STORE is that setting.
"""

from __future__ import annotations

import sqlite3
import sys
from typing import Final

from gateway.cli.commands import main
from storage import engine

_SETTING: Final = "PRAGMA temp_store = MEMORY"
_SOME: Final = "WITH RECURSIVE some(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM some WHERE n < 500)"
_NEED: Final = (
    "PRAGMA temp.cache_size = 4",
    f"CREATE TEMP TABLE needed AS {_SOME} SELECT randomblob(4000) AS room FROM some",
)

if __name__ == "__main__":
    _, whose, store, *arguments = sys.argv
    assert _SETTING in engine._SAFE
    if whose == "own":
        kept = tuple(each if each != _SETTING else f"PRAGMA temp_store = {store}" for each in engine._SAFE)
        engine._SAFE = (*kept, *_NEED)  # type: ignore[assignment,misc]  # on purpose
    else:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        for statement in (f"PRAGMA temp_store = {store}", *_NEED):
            connection.execute(statement)
    main(arguments)
