"""The project's own source as the tests of its architecture see it: modules, imports and syntax trees."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "storage")


@dataclass(frozen=True)
class Module:
    """One file of source; `name` is what it is imported by."""

    name: str
    path: Path

    @cached_property
    def text(self) -> str:
        """Everything in the file."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The file's syntax."""
        return ast.parse(self.text, filename=str(self.path))

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def package(self) -> str:
        """The package relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def where(self, node: ast.AST) -> str:
        """File and line of `node`, for a failure's message."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method, inner ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def calls(self) -> Iterator[ast.Call]:
        """Every call."""
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    @cached_property
    def imported(self) -> frozenset[str]:
        """Every name imported anywhere in the file: modules, and names from modules with the module before them."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    above = self.package.split(".")[: len(self.package.split(".")) - node.level + 1]
                    base = ".".join([*above, base]).rstrip(".")
                names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        return frozenset(names)

    @property
    def imports(self) -> frozenset[str]:
        """The project's own modules this one imports."""
        known = {module.name for module in modules()}
        own = {name for name in self.imported if name in known and name != self.name}
        # `from gateway import keys` names the package too, which is not what it is after.
        packages = {module.name for module in modules() if module.path.name == "__init__.py"}
        return frozenset(own - packages)

    @property
    def libraries(self) -> frozenset[str]:
        """The outside libraries this module imports, by their top-level name."""
        tops = {name.partition(".")[0] for name in self.imported}
        return frozenset(tops - set(sys.stdlib_module_names) - {*PACKAGES, "tests", "__future__", ""})


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the two packages."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(name, path))
    return tuple(found)


@cache
def scripts() -> tuple[Module, ...]:
    """Every Python script, with or without a suffix."""
    paths = sorted(path for path in (ROOT / "scripts").rglob("*") if path.is_file() and path.suffix in ("", ".py"))
    python = [path for path in paths if path.suffix == ".py" or "python" in path.read_text().partition("\n")[0]]
    return tuple(Module(f"scripts.{path.stem}", path) for path in python)


def last_name(node: ast.AST) -> str:
    """`c` for `a.b.c`, `c` for `c`, else nothing."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
