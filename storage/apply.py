"""Which function carries out which operation.

Rules: runs inside the writer's transaction; an operation without a line here is refused as a programming error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from storage import calls, cosigning, erasing, messages, presences, rulebook
from storage.operations import (
    Append,
    AppendAll,
    AskErasure,
    CloseCall,
    Cosign,
    KeepCosignature,
    KeepMessage,
    KeepTimestamp,
    MarkEvents,
    MoveCall,
    NameCall,
    OpenCall,
    Operation,
    RemoveRule,
    ResetWitness,
    SealPresence,
    SetRule,
    SignCheckpoint,
)
from storage.transaction import Transaction


def _append(transaction: Transaction, operation: Append) -> int:
    seq = transaction.append(operation.leaf, operation.call)
    if operation.event is not None:
        transaction.ledger.tell_of(operation.event, seq)
    return seq


def _append_all(transaction: Transaction, operation: AppendAll) -> int:
    return transaction.append_all(operation.leaves)


def _sign(transaction: Transaction, _: SignCheckpoint) -> None:
    transaction.ledger.sign()


_CARRIED_OUT_BY: Final[dict[type, Callable[[Transaction, Any], object]]] = {
    Append: _append,
    AppendAll: _append_all,
    SignCheckpoint: _sign,
    OpenCall: calls.open_call,
    CloseCall: calls.close_call,
    NameCall: calls.name_call,
    MoveCall: calls.move_call,
    MarkEvents: calls.mark_events,
    SealPresence: presences.seal_presence,
    KeepMessage: messages.keep_message,
    SetRule: rulebook.set_rule,
    RemoveRule: rulebook.remove_rule,
    AskErasure: erasing.ask_erasure,
    Cosign: cosigning.cosign,
    ResetWitness: cosigning.reset_witness,
    KeepCosignature: cosigning.keep_cosignature,
    KeepTimestamp: cosigning.keep_timestamp,
}


def apply(transaction: Transaction, operations: Iterable[Operation]) -> tuple[Any, ...]:
    """Carry out `operations` in order; their answers. Raises KeyError for what is no operation, and what they raise."""
    return tuple([_CARRIED_OUT_BY[type(operation)](transaction, operation) for operation in operations])
