"""The installed package's source as syntax trees, for the tests that read it instead of running it."""

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import attrs

import smartproxy

ROOT = Path(smartproxy.__file__).parent
TESTS = Path(__file__).parent


@attrs.frozen(eq=False)
class Module:
    """One module: its dotted name, whether it is a package, its syntax tree, and its text."""

    name: str
    package: bool
    tree: ast.Module
    text: str

    def at(self, node: ast.AST) -> str:
        """Name a place in it."""
        return f"{self.name}:{getattr(node, 'lineno', 0)}"


def parse(name: str, text: str, *, package: bool = False) -> Module:
    """Parse one module from text."""
    return Module(name, package, ast.parse(text), text)


@functools.cache
def modules(root: Path = ROOT) -> Mapping[str, Module]:
    """Parse every module below a package's folder, by name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if package else parts)
        found[name] = parse(name, path.read_text(encoding="utf-8"), package=package)
    return MappingProxyType(found)


@attrs.frozen
class Import:
    """One name that a module imports: ``module`` and, for ``from module import name``, ``name``."""

    module: str
    name: str | None
    node: ast.stmt
    top: bool

    @property
    def full(self) -> str:
        """The dotted name of what is imported."""
        return self.module if self.name is None else f"{self.module}.{self.name}"

    @property
    def library(self) -> str:
        """The first part of the module's name."""
        return self.module.partition(".")[0]


@functools.cache
def imports(module: Module) -> tuple[Import, ...]:
    """Find every import of a module, those inside functions too."""
    return tuple(_imports(module))


def _imports(module: Module) -> Iterator[Import]:
    inside = {
        node
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, node, node not in inside)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(_absolute(module, node), alias.name, node, node not in inside)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    base = parts[: len(parts) - node.level + (1 if module.package else 0)]
    return ".".join([*base, *([node.module] if node.module else [])])


def outermost_name(node: ast.expr) -> str:
    """The name that an expression goes by: the variable, the attribute, the function called; empty if it has none."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=inner) | ast.Subscript(value=inner) | ast.Await(value=inner):
            return outermost_name(inner)
    return ""
