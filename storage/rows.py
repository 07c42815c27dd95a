"""The words that bind a sealed box to its row, so that it opens nowhere else.

Rules: a row is named by what never changes in it; two rows of a table never have the same words. Presences and messages
are named by their random ids.
"""

from __future__ import annotations

from storage.operations import Call


def call_row(call: Call) -> str:
    """Those of a call's aliases."""
    organization, name = call
    return f"{len(organization)}:{organization}{name}"


def rule_row(kind: str, name: str) -> str:
    """Those of a policy or a hold."""
    return f"{kind}/{name}"
