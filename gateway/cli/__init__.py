"""The command `gateway`: `main` is the console script.

Rules: heavy rooms are imported by the command that needs them, so that `--help` is quick.
"""

from gateway.cli.commands import main, run

__all__ = ["main", "run"]
