"""Markup: HTML and SVG put together so that no value can become part of either.

Rules: a plain string is always escaped, and only what was built here is taken as it is; characters that are invisible
or turn the reading direction are spelled out, for a name must look like what it is.
"""

from __future__ import annotations

import html
from typing import Final

_VOID: Final = frozenset({"br", "meta", "hr"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | int | Markup
"""What an element may hold: markup, or a value to be escaped."""


def visible(value: str) -> str:
    """`value` with every character that cannot be seen spelled out; spaces stay."""
    if value.isprintable():
        return value
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in value)


def escaped(value: Child) -> Markup:
    """`value` as text: it stays text in an element and in an attribute."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(visible(str(value))))


def element(name: str, /, *children: Child, **attributes: str | int | None) -> Markup:
    """An element; `class_` stands for `class`, `_` for `-` in a name, and an attribute that is None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{''.join(map(escaped, children))}</{name}>")


def joined(*children: Child) -> Markup:
    """Several, one behind the other."""
    return Markup("".join(map(escaped, children)))


def table(caption: str, columns: list[str], rows: list[list[Child]], kind: str | None = None) -> Markup:
    """A table whose first column heads its rows; `kind` is its class."""
    heads = [element("th", column, scope="col") for column in columns]
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads)),
        element("tbody", *body),
        class_=kind,
    )
