"""The rules of the house: which rooms there are, who may enter which, and what is never done in any."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

import pytest

from tests.source import Module, last_name, modules, scripts

PURE, SERVICE, ADAPTER, ROOT = "pure", "service", "adapter", "root"
TABLES, FACADE = "tables", "facade"

ROOMS: Mapping[str, Mapping[str, str]] = {
    "gateway.core": {
        PURE: """attendance call catalogue claims cloudevents coverage decoding delivery effects errors events
            events_calling events_chat events_own facts fields fold frames framing fusion happenings ids items
            keeping merging observing occurrences presence proofs reading residency session showing step
            strict_json survey texts tokens types uniting wire""",
    },
    "gateway.hub": {
        SERVICE: """acks answers commits continuity enactment entrances entries evidence hub intake interpreter journal
            ledgers live messages names naming porter proving recollection refusing registry retention roll surveys
            sweeper timestamping witnessing written""",
    },
    "gateway.evidence": {
        PURE: "attendance cast contents guide markup records report story style tables timeline wording",
    },
    "gateway.edge": {
        SERVICE: "admission departures edge greetings hub limits pulse wheel",
        ADAPTER: "connection listener opening",
    },
    "gateway.link": {PURE: "messages", SERVICE: "dispatch edge_end link region_end tally"},
    "gateway.control": {ADAPTER: "desk events http ledgers retention routes server"},
    "gateway.client": {ADAPTER: "api frames notice outbox sessions settings state tokens waiting witness"},
    "gateway.cli": {ROOT: "asking backup commands evidence init ledger retention views"},
    "gateway": {
        SERVICE: "lateness log metrics",
        ADAPTER: "mqtt outbound",
        ROOT: """__main__ app clock config descriptors front house keys loop possession process ready settings worker
            workers""",
    },
    "storage": {
        PURE: "entry errors merkle moment note operations retention rows tables witness",
        TABLES: """apply backup calls certificates chores clock condition connection copies cosigning engine erasing
            erasures identity kept keyring ledger manifest many messages newfile persistence premises presences reader
            remembered rulebook rules schema shape signing slots spans sweep timestamping transaction tree vault wal
            writer""",
        FACADE: "region residue restore",
    },
    "storage.audit": {
        PURE: "agreement archive coverage entries meeting order tables verdict",
        TABLES: "brought claims erased file filed plain proved scan whole",
        FACADE: "judging ledger offered pack stamp witness",
        ROOT: "__main__",
    },
}
"""Every module stands in one room; an import goes from a later room to an earlier one, or stays inside."""

ORDER = (PURE, SERVICE, TABLES, ADAPTER, FACADE, ROOT)

PURE_STANDARD = (
    {"__future__", "collections", "dataclasses", "datetime", "enum", "functools", "heapq", "math", "re", "struct"}
    | {"base64", "binascii", "hashlib", "html", "json", "urllib"}
    | {"pathlib", "typing"}
)
"""What pure rooms may use of the standard library: no loop, file, socket, thread, clock, chance or log."""

LIBRARIES: Mapping[str, frozenset[str]] = {
    "aiomqtt": frozenset({"gateway.mqtt"}),
    "click": frozenset(
        {f"gateway.cli.{each}" for each in ("asking", "backup", "commands", "evidence", "ledger", "retention")}
    ),
    # Secret boxes, signatures and authorities' certificates share a library, not a purpose.
    "cryptography": frozenset({"storage.signing", "storage.timestamping", "storage.vault"}),
    "httpx": frozenset({"gateway.outbound"}),
    "joserfc": frozenset({"gateway.core.tokens"}),
    "paho": frozenset({"gateway.mqtt"}),
    "prometheus_client": frozenset({"gateway.metrics"}),
    "pysqlite3": frozenset({"storage.engine"}),
    "rfc3161_client": frozenset({"storage.timestamping"}),
    "rich": frozenset({"gateway.cli.views"}),
    "sqlite_utils": frozenset({"storage.schema"}),
    # One server, whose routes, body limits and HTTP protocol are modules of one family.
    "starlette": frozenset(
        {f"gateway.control.{each}" for each in ("desk", "events", "ledgers", "retention", "routes", "server")}
    ),
    "uvicorn": frozenset({"gateway.control.server", "gateway.control.http"}),
    "structlog": frozenset({"gateway.log"}),
    "uvloop": frozenset({"gateway.loop"}),
    # The two ends of a WebSocket.
    "websockets": frozenset({"gateway.edge.connection", "gateway.edge.opening", "gateway.client.sessions"}),
}
"""An outside library is known to one module. msgspec is our vocabulary for data and known everywhere."""

RECORDERS = frozenset(
    {"continuity", "enactment", "evidence", "intake", "interpreter", "journal", "ledgers", "messages", "naming"}
    | {"proving", "recollection", "retention", "sweeper", "timestamping", "witnessing"}
)
"""The services that speak with storage."""

PROOFS = {"storage.merkle", "storage.note", "storage.signing"}
"""What checks proofs and signatures, and touches nothing."""

LONGEST_MODULE, LONGEST_FUNCTION = 300, 50

MODULES = [each for each in modules() if each.path.stem != "__init__"]
SOURCE = [*MODULES, *scripts()]


def short(module: Module) -> str:
    """The module's own name without its packages."""
    return module.name.rpartition(".")[2]


def storage(module: Module) -> bool:
    """Whether the module is one of storage's."""
    return module.name.startswith("storage.")


def room(name: str) -> str:
    """The room of the module called `name`."""
    package, _, last = name.rpartition(".")
    return next(each for each, names in ROOMS[package].items() if last in names.split())


def family(name: str) -> str:
    """What the module called `name` belongs with: its folder, or itself where it lies beside the folders."""
    package = name.rpartition(".")[0]
    return name if package in ("gateway", "storage") else package


def named(found: Iterator[str] | list[str]) -> str:
    """What was found, one a line, for the failure's message."""
    return "\n".join(found)


@pytest.mark.parametrize("package", ROOMS)
def test_every_module_has_exactly_one_room(package: str) -> None:
    """A module without a room fails, and so does a room's module that is not there."""
    listed = [name for names in ROOMS[package].values() for name in names.split()]
    there = [short(each) for each in MODULES if each.name.rpartition(".")[0] == package]
    assert sorted(listed) == sorted(set(listed))
    assert sorted(there) == sorted(listed)


def test_every_folder_is_listed() -> None:
    """A new folder is a new set of rooms."""
    assert {each.name.rpartition(".")[0] for each in MODULES} == set(ROOMS)


def test_imports_go_down_the_stairs_only() -> None:
    """Pure ← services ← adapters ← root, and within storage pure ← tables ← facade."""
    wrong = [
        f"{module.name} ({room(module.name)}) imports {name} ({room(name)})"
        for module in MODULES
        for name in sorted(module.imports)
        if ORDER.index(room(name)) > ORDER.index(room(module.name)) and storage(module) == name.startswith("storage.")
    ]
    assert not wrong, named(wrong)


def test_storage_does_not_know_the_gateway_nor_the_core_storage() -> None:
    """`storage` never imports `gateway`; of the gateway only services that record and the root import `storage`.

    The client's witness judges proofs by the code that makes them: it may know that code, and nothing that has files.
    """
    wrong = []
    for module in MODULES:
        others = {name for name in module.imports if storage(module) != name.startswith("storage.")}
        may = not storage(module) and (short(module) in RECORDERS or room(module.name) == ROOT)
        if module.name == "gateway.client.witness":
            others -= PROOFS
        if others and not may:
            wrong.append(f"{module.name} imports {others}")
    assert not wrong, named(wrong)


def test_adapters_do_not_know_each_other() -> None:
    """Each adapter stands alone with its library: the client knows only words, no adapter another's family."""
    wrong = []
    for module in MODULES:
        if room(module.name) == ADAPTER:
            for name in sorted(module.imports):
                stranger = room(name) == ADAPTER and family(name) != family(module.name)
                if stranger or (family(module.name) == "gateway.client" and room(name) == SERVICE):
                    wrong.append(f"{module.name} imports {name}")
    assert not wrong, named(wrong)


def test_no_imports_go_in_a_circle() -> None:
    """Every module can be read after all it imports: there is an order."""
    waiting = {each.name: set(each.imports) for each in MODULES}
    while ready := {name for name, needed in waiting.items() if not needed & set(waiting)}:
        for name in ready:
            del waiting[name]
    assert not waiting, f"a circle among {sorted(waiting)}"


def test_pure_rooms_touch_nothing_outside() -> None:
    """No loop, database, socket, thread, clock, chance, file or log in what decides: time and ids are arguments."""
    wrong = []
    for module in (each for each in MODULES if room(each.name) == PURE):
        tops = {name.partition(".")[0] for name in module.imported}
        libraries = {each for each, where in LIBRARIES.items() if module.name in where}
        outside = tops - PURE_STANDARD - {"gateway", "storage", "msgspec"} - libraries
        wrong += [f"{module.name} imports {name}" for name in sorted(outside)]
        for call in module.calls():
            if isinstance(call.func, ast.Attribute) and call.func.attr in ("now", "utcnow", "today", "read_text"):
                wrong.append(f"{module.where(call)}: {ast.unparse(call.func)}")
            if isinstance(call.func, ast.Name) and call.func.id in ("open", "print", "input"):
                wrong.append(f"{module.where(call)}: {call.func.id}")
    assert not wrong, named(wrong)


def test_pure_rooms_and_storage_have_no_coroutines() -> None:
    """What decides does not wait, and storage knows no asyncio at all."""
    wrong = [
        module.where(node)
        for module in MODULES
        if module.name.startswith(("gateway.core.", "storage."))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
    ]
    wrong += [each.name for each in MODULES if each.name.startswith("storage.") and "asyncio" in each.imported]
    assert not wrong, named(wrong)


def test_each_outside_library_is_known_in_one_place() -> None:
    """A library that changes is met in one module: nobody else imports it, and no library is unlisted."""
    found: dict[str, set[str]] = {}
    for module in MODULES:
        for library in module.libraries - {"msgspec"}:
            found.setdefault(library, set()).add(module.name)
    assert found == {library: set(where) for library, where in LIBRARIES.items()}


def test_modules_and_functions_are_small() -> None:
    """One room, one purpose: at most 300 lines a module and 50 a function."""
    wrong = []
    for module in SOURCE:
        lines = len(module.text.splitlines())
        if lines > LONGEST_MODULE:
            wrong.append(f"{module.where(module.tree)}: {lines} lines")
        for function in module.functions():
            assert function.end_lineno is not None
            length = function.end_lineno - function.lineno + 1
            if length > LONGEST_FUNCTION:
                wrong.append(f"{module.where(function)}: {function.name} has {length} lines")
    assert not wrong, named(wrong)


def test_modules_and_classes_say_what_they_are() -> None:
    """Every module begins with its purpose and its rules, and every public class has words of its own."""
    wrong = []
    for module in MODULES:
        if "Rules: " not in (ast.get_docstring(module.tree) or "") and short(module) != "__main__":
            wrong.append(f"{module.name}: its first words do not say its rules")
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                wrong.append(f"{module.where(node)}: {node.name} is undocumented")
    assert not wrong, named(wrong)


def task_groups(module: Module) -> set[str]:
    """The names that mean a task group in `module`: bound by `async with`, or declared as one."""
    names: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.withitem) and "TaskGroup" in ast.unparse(node.context_expr) and node.optional_vars:
            names.add(last_name(node.optional_vars))
        elif (
            isinstance(node, ast.arg | ast.AnnAssign)
            and node.annotation
            and "TaskGroup" in ast.unparse(node.annotation)
        ):
            names.add(node.arg if isinstance(node, ast.arg) else last_name(node.target))
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and last_name(node.value.func) == "TaskGroup"
        ):
            names |= {last_name(target) for target in node.targets}
    return names


def test_only_a_task_group_starts_tasks_and_each_has_a_name() -> None:
    """No task outlives its starter or fails unheard, and a stuck one can be told by its name."""
    wrong = []
    for module in MODULES:
        groups = task_groups(module)
        for call in module.calls():
            started = last_name(call.func)
            if started == "ensure_future":
                wrong.append(f"{module.where(call)}: ensure_future")
            if started == "create_task":
                assert isinstance(call.func, ast.Attribute)
                if last_name(call.func.value) not in groups:
                    wrong.append(f"{module.where(call)}: not of a TaskGroup")
                if not any(keyword.arg == "name" for keyword in call.keywords):
                    wrong.append(f"{module.where(call)}: a task without a name")
    assert not wrong, named(wrong)


def built(node: ast.expr) -> bool:
    """Whether a text is put together from values rather than written down."""
    if isinstance(node, ast.JoinedStr):
        return any(
            isinstance(part, ast.FormattedValue)
            and not (isinstance(part.value, ast.Name) and part.value.id.isupper())
            and not last_name(part.value).lstrip("_").isupper()
            for part in node.values
        )
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Mod) or built(node.left) or built(node.right)
    return isinstance(node, ast.Call) and last_name(node.func) in ("format", "join", "replace")


def test_d4_no_statement_is_put_together_from_data() -> None:
    """D4: SQL binds its parameters; a statement is a constant, at most with our own constants in it."""
    wrong = []
    for module in MODULES:
        for call in module.calls():
            if last_name(call.func) in ("execute", "executemany", "executescript", "query"):
                wrong += [module.where(call) for argument in call.args[:1] if built(argument)]
    assert not wrong, named(wrong)


def test_no_coroutine_touches_a_database() -> None:
    """The gateway speaks with storage in operations and questions; only storage's threads execute statements."""
    wrong = [
        module.where(call)
        for module in MODULES
        if module.name.startswith("gateway.")
        for call in module.calls()
        if last_name(call.func) in ("execute", "executemany", "executescript", "cursor", "commit")
    ]
    assert not wrong, named(wrong)


SECRETS = ("secret", "token", "password", "signature", "mac", "hmac")


def secret(node: ast.expr) -> bool:
    """Whether `node` is by its name something an attacker would like to guess."""
    name = last_name(node).lower()
    return name in SECRETS or name.endswith(tuple(f"_{each}" for each in SECRETS))


def test_t8_secrets_are_never_compared_with_the_equality_sign() -> None:
    """T8: a comparison that stops at the first difference tells how far a guess is right.

    The client, which compares its own token with its own, has nobody to tell.
    """
    wrong = [
        module.where(node)
        for module in MODULES
        if family(module.name) != "gateway.client"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(each, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for each in node.ops)
        and any(secret(each) for each in (node.left, *node.comparators))
    ]
    assert not wrong, named(wrong)


def test_no_error_is_swallowed() -> None:
    """Whoever catches everything raises it again or hands it on: never log and carry on."""
    wrong = []
    for module in SOURCE:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler):
                caught = [] if node.type is None else [last_name(each) for each in ast.walk(node.type)]
                everything = node.type is None or {"Exception", "BaseException"} & set(caught)
                raised = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                handed_on = node.name is not None and any(last_name(inner) == node.name for inner in ast.walk(node))
                if everything and not raised and not handed_on:
                    wrong.append(module.where(node))
            if isinstance(node, ast.Call) and last_name(node.func) == "suppress":
                wrong += [module.where(node) for each in node.args if last_name(each) in ("Exception", "BaseException")]
    assert not wrong, named(wrong)


def test_the_words_that_say_nothing_are_not_used() -> None:
    """A name says what a thing is for: no Manager, Handler, Helper, Util, Base or Impl."""
    empty = ("Manager", "Handler", "Helper", "Helpers", "Util", "Utils", "Base", "Impl")
    wrong = [
        f"{module.where(node)}: {node.name}"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith(empty)
    ]
    wrong += [each.name for each in MODULES if short(each).title().endswith(empty)]
    assert not wrong, named(wrong)


def test_e12_nothing_is_ever_broadcast_by_the_library() -> None:
    """E12: websockets' broadcast has no bound: 50 stalled clients cost 399 MB."""
    wrong = [module.where(call) for module in MODULES for call in module.calls() if last_name(call.func) == "broadcast"]
    assert not wrong, named(wrong)
