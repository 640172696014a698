"""Finds where a `module:Name` is defined by reading source with ast; nothing of the user's is ever imported."""

from __future__ import annotations

import ast
import importlib.machinery
import sys
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from kladml_core.errors import UnusableError

_SOURCE = ".py"
_EXTENSIONS = tuple(importlib.machinery.EXTENSION_SUFFIXES) + tuple(importlib.machinery.BYTECODE_SUFFIXES)


@dataclass(frozen=True)
class TargetLocation:
    """Where a target stands. `kind`: class, function, variable, import, module, or unknown where only running tells."""

    file: str
    line: int | None
    name: str
    kind: str


@dataclass(frozen=True)
class _Names:
    """What a module's source binds at its top level."""

    bound: dict[str, tuple[str, int]]
    """Name → kind and line."""
    dynamic: bool
    """Whether a name that is not bound here may still exist."""


def find_target(target: str, workspace: Path) -> TargetLocation:
    """Where `module:Name` or `path/to/file.py:Name` is defined, looking first in the workspace, then on sys.path.

    Raises:
        UnusableError: it is not written so, or its file, module or name is missing, or the source cannot be read.
    """
    source, colon, name = target.rpartition(":")
    if not colon or not source or not name:
        raise UnusableError(f"{target!r} is no target", hint="Write module:Name or path/to/file.py:Name")
    if not all(part.isidentifier() for part in name.split(".")):
        raise UnusableError(f"{name!r} in {target!r} is no name of Python", hint="Write module:Name")
    if "/" in source and not source.endswith(_SOURCE):
        raise UnusableError(f"{source} is no Python file", hint=f"Did you mean {source.rstrip('/')}.py:{name}?")
    if source.endswith(_SOURCE):
        file = _file(source, workspace)
        label = source
    else:
        found = _module(source, workspace)
        if isinstance(found, TargetLocation):
            return TargetLocation(found.file, None, name, "unknown")
        file, label = found, source
    return _in_file(file, name, label, workspace)


def _in_file(file: Path, name: str, label: str, workspace: Path) -> TargetLocation:
    names = _names(file)
    first, _, rest = name.partition(".")
    if first in names.bound:
        kind, line = names.bound[first]
        # What is below a class or an imported module only running tells.
        return TargetLocation(str(file), line, name, "unknown" if rest else kind)
    if not rest and file.name == "__init__.py" and _submodule(file.parent, first):
        return TargetLocation(str(file), None, name, "module")
    if names.dynamic:
        return TargetLocation(str(file), None, name, "unknown")
    public = [known for known, (kind, _) in names.bound.items() if kind != "import" and not known.startswith("_")]
    own = [known for known, (kind, _) in names.bound.items() if kind != "import"]
    # What a module only imports is rarely meant, so that it must be very near.
    close = _close(first, own, 0.3) or _close(first, list(names.bound), 0.3) or _close(first, own)
    defines = f"It defines {', '.join(public[:8]) or 'nothing'}"
    hint = f"Did you mean {label}:{close}?" if close else defines
    raise UnusableError(f"{_shown(file, workspace)} has no {first!r}", hint=hint)


def _close(name: str, known: list[str], stricter: float = 0.0) -> str | None:
    """The known name that is nearest, by its letters or else by its letters in lower case."""
    close = get_close_matches(name, known, n=1, cutoff=0.5 + stricter)
    if close:
        return close[0]
    lowered = {each.lower(): each for each in known}
    return next((lowered[near] for near in get_close_matches(name.lower(), lowered, n=1, cutoff=0.6 + stricter)), None)


def _file(source: str, workspace: Path) -> Path:
    file = workspace / source
    if file.is_file():
        return file
    siblings = [entry.name for entry in file.parent.glob("*.py")] if file.parent.is_dir() else []
    close = get_close_matches(file.name, siblings, n=1)
    if close:
        hint = f"Did you mean {Path(source).parent / close[0]}?"
    else:
        hint = f"Paths are looked up from the workspace {workspace}"
    raise UnusableError(f"there is no file {source}", hint=hint)


def _module(dotted: str, workspace: Path) -> Path | TargetLocation:
    """The source file of a module, or a location of kind unknown where it has none that can be read."""
    parts = dotted.split(".")
    if not all(part.isidentifier() for part in parts):
        raise UnusableError(f"{dotted!r} is no module", hint="Write package.module:Name or path/to/file.py:Name")
    if parts[0] in sys.builtin_module_names:
        return TargetLocation("built-in", None, dotted, "unknown")
    folders = [workspace, *(Path(entry) for entry in sys.path if entry and Path(entry).is_dir())]
    searched = folders
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        found = _find_part(folders, part)
        if found is None:
            if depth == 0 and (part in _hooked() or _archives()):
                return TargetLocation("unknown", None, dotted, "unknown")
            raise _missing(parts, depth, folders, searched)
        kind, path = found
        if kind == "extension":
            return TargetLocation(str(path), None, dotted, "unknown")
        if kind == "module":
            if last:
                return path
            # os.path and its like: a module may put others into sys.modules under its own name.
            if _names(path).dynamic:
                return TargetLocation(str(path), None, dotted, "unknown")
            name = ".".join(parts[: depth + 1])
            raise UnusableError(f"{name} is a module and holds no other", hint=f"It is {_shown(path, workspace)}")
        init = path / "__init__.py"
        if last:
            return init if init.is_file() else TargetLocation(str(path), None, dotted, "unknown")
        # Parts of a namespace package may lie in several folders.
        folders = [path] if init.is_file() else [each / part for each in folders if (each / part).is_dir()]
    raise AssertionError("a dotted name has at least one part")


def _find_part(folders: list[Path], part: str) -> tuple[str, Path] | None:
    """What `import part` would find in `folders`: a package, a module or an extension, in Python's own order."""
    namespace: Path | None = None
    for folder in folders:
        if (folder / part / "__init__.py").is_file():
            return "package", folder / part
        for suffix in _EXTENSIONS:
            if suffix not in importlib.machinery.BYTECODE_SUFFIXES and (folder / f"{part}{suffix}").is_file():
                return "extension", folder / f"{part}{suffix}"
        if (folder / f"{part}.py").is_file():
            return "module", folder / f"{part}.py"
        if (folder / f"{part}.pyc").is_file():
            return "extension", folder / f"{part}.pyc"
        if namespace is None and (folder / part).is_dir():
            namespace = folder / part
    return ("package", namespace) if namespace is not None else None


def _missing(parts: list[str], depth: int, folders: list[Path], searched: list[Path]) -> UnusableError:
    name = ".".join(parts[: depth + 1])
    near = folders if depth else searched[:1]
    known = sorted(_importable(near))
    close = get_close_matches(parts[depth], known, n=1)
    if not close and not depth:
        close = get_close_matches(parts[depth], sorted(_importable(searched[1:])), n=1, cutoff=0.8)
    hint: str | None = None
    if close:
        hint = f"Did you mean {'.'.join([*parts[:depth], close[0], *parts[depth + 1 :]])}?"
    elif not depth:
        hint = f"Modules are looked up in the workspace {searched[0]}, then where Python looks"
    elif known:
        hint = f"The package {'.'.join(parts[:depth])} holds {', '.join(known[:8])}"
    return UnusableError(f"there is no module {name!r}", hint=hint)


def _importable(folders: list[Path]) -> Iterator[str]:
    for folder in folders:
        try:
            entries = list(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.suffix == _SOURCE and entry.stem.isidentifier() and entry.stem != "__init__":
                yield entry.stem
            elif entry.name.isidentifier() and entry.name != "__pycache__" and entry.is_dir():
                yield entry.name


def _submodule(folder: Path, name: str) -> bool:
    return _find_part([folder], name) is not None


def _hooked() -> frozenset[str]:
    """Top-level names that an import hook of an editable install provides: they lie on no path of sys.path."""
    names: set[str] = set()
    for finder in sys.meta_path:
        module = sys.modules.get(getattr(finder, "__module__", "") or "")
        mapping = getattr(finder, "MAPPING", None) or getattr(module, "MAPPING", None)
        if isinstance(mapping, dict):
            names.update(str(key).partition(".")[0] for key in mapping)
    return frozenset(names)


def _archives() -> bool:
    """Whether sys.path holds zip files, which are not looked into."""
    return any(entry.endswith((".zip", ".whl", ".egg")) and Path(entry).is_file() for entry in sys.path)


def _names(file: Path) -> _Names:
    try:
        state = file.stat()
        return _parsed(str(file), state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise UnusableError(f"{file} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=64)
def _parsed(file: str, _mtime: int, _size: int) -> _Names:
    """The names of a source file; cached by its state, for the editor asks at every key pressed."""
    try:
        with tokenize.open(file) as stream, warnings.catch_warnings():
            # A doubtful escape in the user's source must not write a warning across the screen.
            warnings.simplefilter("ignore")
            tree = ast.parse(stream.read(), file)
    except SyntaxError as error:
        place = f" on line {error.lineno}" if error.lineno else ""
        raise UnusableError(f"{file} is no valid Python{place}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise UnusableError(f"{file} is no valid Python: {error}") from None
    bound: dict[str, tuple[str, int]] = {}
    dynamic = _makes_names(tree)
    for statement in _statements(tree.body):
        for name, kind in _bindings(statement):
            dynamic = dynamic or name in ("*", "__getattr__")
            bound[name] = (kind, getattr(statement, "lineno", 1))
    return _Names(bound, dynamic)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body that an import runs, those inside if, try, with, for, while and match included."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if not (isinstance(statement, ast.If) and _never_imported(statement.test)):
            yield from _statements(getattr(statement, "body", []))
        for part in ("orelse", "finalbody"):
            yield from _statements(getattr(statement, part, []))
        for part in ("handlers", "cases"):
            for branch in getattr(statement, part, []):
                yield from _statements(branch.body)


def _never_imported(test: ast.expr) -> bool:
    """Whether a condition is `TYPE_CHECKING` or `__name__ == "__main__"`."""
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute)}
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq):
        return "__name__" in names
    return isinstance(test, (ast.Name, ast.Attribute)) and "TYPE_CHECKING" in names | attributes


def _bindings(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """The names that a statement binds, with their kind; `*` for a star import."""
    if isinstance(statement, ast.ClassDef):
        yield statement.name, "class"
    elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield statement.name, "function"
    elif isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.asname or alias.name.partition(".")[0], "import"
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            yield alias.asname or alias.name, "import"
    elif not (isinstance(statement, ast.AnnAssign) and statement.value is None):
        for part in ast.iter_child_nodes(statement):
            if isinstance(part, (ast.expr, ast.withitem)):
                for node in ast.walk(part):
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                        yield node.id, "variable"


def _makes_names(tree: ast.Module) -> bool:
    """Whether the module may bind names that its text does not show: by exec, globals(), global or sys.modules."""
    makers = ("globals", "exec", "vars")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers:
            return True
        if isinstance(node, ast.Attribute) and node.attr == "modules" and ast.unparse(node.value) == "sys":
            return True
        if isinstance(node, ast.Global):
            return True
    return False


def _shown(file: Path, workspace: Path) -> str:
    return str(file.relative_to(workspace)) if file.is_relative_to(workspace) else str(file)
