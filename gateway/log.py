"""One-line JSON logs on standard error, from the gateway and from every library in its process.

Rules: an entry is one line of printable ASCII whatever a peer sent (threats: log forging); it names nobody: fields
about people are withheld, raw ids, tokens and secrets in any text are struck out; what an outside library says
is kept without its values, and an outside error without its message, for both may quote a peer.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, WrappedLogger

from gateway.core.types import rfc3339

Entry = MutableMapping[str, Any]

WITHHELD: Final = frozenset(
    {"participant", "person", "people", "name", "display_name", "device", "user_agent"}
    | {"token", "authorization", "secret", "headers", "path", "url", "query"}
    | {"content", "body", "thread", "message"}
)
"""Fields that are never written, whoever passes them."""

OUTSIDE: Final = ("asyncio", "websockets", "uvicorn", "uvicorn.error", "uvicorn.access", "paho", "aiomqtt", "mqtt")
"""The libraries' loggers, heard from warnings upward and without handlers of their own."""

_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)(?![\w-])"
_RAW_ID: Final = r"\b(?:4|8|28):(?:[a-z-]+:)?[^\s\"'<>]+"
_STRUCK_OUT: Final = (
    # Half past seven is no bot: a whole time is kept as it stands, or `28:` would be taken for the start of a raw id.
    (re.compile(rf"(?P<time>{_TIME})|{_RAW_ID}"), lambda found: found["time"] or "[participant]"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.?[\w-]*"), "[token]"),
    (re.compile(r"(?i)\b(bearer|code=|secret=|token=)\s*[^\s&\"']+"), r"\1[secret]"),
    (re.compile(r"://[^/\s@]+@"), "://[secret]@"),
)
_LEVELS: Final = ("debug", "info", "warning", "error")


def logger(name: str) -> FilteringBoundLogger:
    """The logger of the room `name`: `logger("hub").warning("storage failing", region="europe")`.

    Silent below warnings until `configure` was called, so that a library user hears nothing unasked.
    """
    wrapped = structlog.wrap_logger(
        logging.getLogger(f"gateway.{name}"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        cache_logger_on_first_use=False,
    )
    return cast("FilteringBoundLogger", wrapped)


def configure(level: str, stream: TextIO | None = None, worker: int | None = None) -> None:
    """Routes every logger of the process to `stream` (standard error), ours from `level` upward.

    Where the process is a worker, each entry says which.

    `level` is one of `debug`, `info`, `warning`, `error`; raises `ValueError` for any other.
    """
    if level not in _LEVELS:
        raise ValueError(f"no log level; use one of {', '.join(_LEVELS)}")
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[partial(_head, worker), structlog.stdlib.ProcessorFormatter.remove_processors_meta, _fields, _line],
        foreign_pre_chain=[_outside],
        use_get_message=False,
    )
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("gateway").setLevel(level.upper())
    for name in OUTSIDE:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.WARNING)
    # An access line holds the path, and so participants and the webhook's secret.
    logging.getLogger("uvicorn.access").disabled = True
    logging.captureWarnings(capture=True)


def _head(worker: int | None, _logger: WrappedLogger, _method: str, entry: Entry) -> Entry:
    record: logging.LogRecord = entry["_record"]
    moment = datetime.fromtimestamp(record.created, UTC)
    level = record.levelname.lower()
    head: Entry = {"at": moment, "level": level, "logger": record.name, "event": entry.pop("event", "")}
    if worker is not None:
        head["worker"] = worker
    error = entry.pop("exc_info", None)
    if error is True:
        error = sys.exception()
    elif isinstance(error, tuple):
        error = error[1]
    return {**head, **entry, **({"error": error} if error else {})}


def _outside(_logger: WrappedLogger, _method: str, entry: Entry) -> Entry:
    said = entry["_record"].msg
    template = said if isinstance(said, str) else type(said).__name__
    return {**entry, "event": template.partition("\n")[0]}


def _fields(_logger: WrappedLogger, _method: str, entry: Entry) -> Entry:
    return cast("Entry", _clean(entry))


def _clean(value: object) -> object:
    if isinstance(value, bool | int | float | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): "[withheld]" if key in WITHHELD else _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    if isinstance(value, BaseException):
        return describe(value)
    if isinstance(value, datetime) and value.tzinfo:
        return rfc3339(value)
    text = str(value)
    for pattern, instead in _STRUCK_OUT:
        text = pattern.sub(instead, text)
    return text


def describe(error: BaseException) -> dict[str, object]:
    """`error` as fields: its type, where it was raised, and its message if it is ours (those quote no input)."""
    kind = type(error)
    fields: dict[str, object] = {"type": f"{kind.__module__}.{kind.__qualname__}"}
    if kind.__module__.partition(".")[0] in ("gateway", "storage"):
        fields["message"] = _clean(str(error))
    elif isinstance(error, OSError) and error.strerror:
        fields["message"] = error.strerror
    fields["raised"] = _places(error.__traceback__)
    if isinstance(error, BaseExceptionGroup):
        fields["errors"] = [describe(inner) for inner in error.exceptions]
    elif error.__cause__ is not None:
        fields["cause"] = describe(error.__cause__)
    return fields


def _places(traceback: TracebackType | None) -> list[str]:
    """File, line and function of each frame, the innermost last; never a line of source or a value."""
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"{Path(code.co_filename).name}:{traceback.tb_lineno} {code.co_qualname}")
        traceback = traceback.tb_next
    return places[-12:]


def _line(_logger: WrappedLogger, _method: str, entry: Entry) -> str:
    return render(entry)


def render(entry: Mapping[str, object]) -> str:
    """`entry` as one line of printable ASCII, in JSON."""
    # ASCII escapes C1, bidirectional and line separators too; JSON itself leaves DEL as it is.
    return json.dumps(entry, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f")
