"""The chat of the meeting: what is written, edited and deleted, and by which door each word comes.

Rules: values only; each person's lines are in the order in which they are sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FIRST: Final = "The draft budget is in the shared folder, please read it before Thursday."
SECOND: Final = "Please use version 3 of the budget: the first one had last year's figures in it."


@dataclass(frozen=True, slots=True)
class Line:
    """One thing done to one message.

    `second` is when the message was sent, counted from the chat's beginning; `again` is a late copy of a line before.
    """

    name: str
    door: Literal["webhook", "client"]
    deed: Literal["sent", "edited", "deleted"]
    second: int
    version: int
    text: str | None
    again: bool = False


LINES: Final = (
    Line("Amélie", "webhook", "sent", 0, 0, FIRST),
    Line("Björn", "client", "sent", 20, 0, "I can take the minutes today, if nobody else wants too."),
    Line("Dana", "webhook", "sent", 40, 0, "Our counsel asks for the recordng to be kept in the United States."),
    Line("Elijah", "client", "sent", 60, 0, "My direct line is 555 0142, call me after the meeting."),
    Line("Chiara", "webhook", "sent", 80, 0, "From our side there are no open questions on the second chapter."),
    Line("Björn", "client", "edited", 20, 1, "I can take the minutes today, if nobody else wants to."),
    Line("Amélie", "client", "sent", 100, 0, SECOND),
    Line("Dana", "webhook", "edited", 40, 1, "Our counsel asks for the recording to be kept in the United States."),
    Line("Farah", "client", "sent", 120, 0, "Merci à tous, je dois partir à l'heure pile aujourd'hui."),
    Line("Grace", "client", "sent", 140, 0, "I only listen today, and may ask to be taken out of your records."),
    Line("Elijah", "webhook", "deleted", 60, 1, None),
    # Event Grid may deliver late and twice; what is superseded or deleted must not come back.
    Line("Elijah", "webhook", "sent", 60, 0, "My direct line is 555 0142, call me after the meeting.", again=True),
    Line("Amélie", "webhook", "sent", 0, 0, FIRST, again=True),
)

TEXTS: Final = tuple(sorted({line.text for line in LINES if line.text is not None}))
"""Every text that was ever sent: none may be readable in any file."""


def history(name: str) -> str:
    """What was done to somebody's messages, in words."""
    lines = (line for line in LINES if line.name == name)
    return ", ".join(f"{'late again' if line.again else line.deed} by {line.door}" for line in lines)
