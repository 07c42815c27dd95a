"""Which function carries out which operation.

Rules: runs inside the writer's transaction; an operation without a line here is refused as a programming error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from storage import calls, messages, presences
from storage.operations import (
    Append,
    CloseCall,
    KeepMessage,
    MarkEvents,
    MoveCall,
    NameCall,
    OpenCall,
    Operation,
    SealPresence,
)
from storage.transaction import Transaction


def _append(transaction: Transaction, operation: Append) -> int:
    return transaction.append(operation.leaf, operation.call)


_CARRIED_OUT_BY: Final[dict[type, Callable[[Transaction, Any], object]]] = {
    Append: _append,
    OpenCall: calls.open_call,
    CloseCall: calls.close_call,
    NameCall: calls.name_call,
    MoveCall: calls.move_call,
    MarkEvents: calls.mark_events,
    SealPresence: presences.seal_presence,
    KeepMessage: messages.keep_message,
}


def apply(transaction: Transaction, operations: Iterable[Operation]) -> tuple[Any, ...]:
    """Carry out `operations` in order; their answers. Raises KeyError for what is no operation, and what they raise."""
    return tuple([_CARRIED_OUT_BY[type(operation)](transaction, operation) for operation in operations])
