"""Says what a target takes: `python -m kladml_core.config.inspect TARGET` imports it, apart from the asking process."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from kladml_core.config.config_reads import config_reads
from kladml_core.config.targets import find_target
from kladml_core.errors import KladMLError, UnusableError

_MARK = "kladml-signature:"
_KINDS = {
    "kladml_core.models.torch_model.TorchModel": "torch_model",
    "kladml_core.models.base.BaseModel": "base_model",
    "torch.nn.modules.module.Module": "module",
}
_TEXT = 200


def signature(target: str, workspace: Path, timeout: float = 20.0) -> dict[str, Any]:
    """What `target` takes, found out by importing it in a process of its own.

    Args:
        target: `module:Name` or `path/to/file.py:Name`.
        workspace: the working directory of that process, first on its sys.path.
        timeout: seconds after which it is ended.

    Returns:
        `{"target", "kind", "model", "file", "line", "doc", "parameters": [{"name", "kind", "required", "default",
        "annotation"}], "config": [{"name", "required", "default"}]}`; texts are shortened, defaults and annotations
        are as Python writes them. `model` is what a class is to us: torch_model, base_model, module, or null;
        `config` is what a model of ours reads of `self.config`.

    Raises:
        UnusableError: the target is missing, cannot be imported, or takes longer than `timeout`.
    """
    # -P: a file of the workspace may be named like a module that this package's own start needs.
    command = [sys.executable, "-P", "-m", "kladml_core.config.inspect", target]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    try:
        child = subprocess.Popen(
            command,
            cwd=workspace,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise UnusableError(f"{target} cannot be looked at: {error.strerror}") from None
    with child:
        try:
            printed, complaints = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            hint = "Move work that takes long out of the module's top level"
            raise UnusableError(f"{target} took longer than {timeout:g} s to import", hint=hint) from None
        finally:
            # Its session: what the module started must not outlive the question, nor keep the pipes open.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
    # The target's own prints go to the same stream; only the marked line is ours.
    for line in reversed(printed.decode(errors="replace").splitlines()):
        if line.startswith(_MARK):
            answer: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            if "error" in answer:
                raise UnusableError(answer["error"], hint=answer["hint"], file=answer["file"], line=answer["line"])
            return answer
    last = complaints.decode(errors="replace").strip().rpartition("\n")[2]
    message = f"{target} ended the process that imported it (exit code {child.returncode})"
    raise UnusableError(message, hint=last or None)


def load_target(target: str, workspace: Path) -> Any:
    """Imports what `target` names into this process; `workspace` is put first on sys.path.

    Raises:
        UnusableError: the target is missing; whatever the module itself raises when imported passes through.
    """
    location = find_target(target, workspace)
    source, _, name = target.rpartition(":")
    folder = str(workspace.resolve())
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    found: Any = _import_file(Path(location.file)) if source.endswith(".py") else importlib.import_module(source)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UnusableError(f"{source} has no {part!r} once it is imported", file=location.file) from None
    return found


def _describe(found: Any) -> dict[str, Any]:
    """What there is to say of an imported class or function."""
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):
        # Some things of C have no signature to read, and what is no callable takes nothing.
        parameters = []
    try:
        file, line = inspect.getsourcefile(found), inspect.getsourcelines(found)[1]
    except (TypeError, OSError):
        file, line = None, None
    return {
        "model": _model_kind(found),
        "config": config_reads(found),
        "kind": "class" if inspect.isclass(found) else "function" if callable(found) else "variable",
        "file": file,
        "line": line,
        "doc": _short(inspect.getdoc(found) or ""),
        "parameters": [_parameter(parameter) for parameter in parameters],
    }


def _model_kind(found: Any) -> str | None:
    """By the names of the classes above it: nothing of ours is imported for it."""
    above = (
        {f"{one.__module__}.{one.__qualname__}" for one in inspect.getmro(found)} if inspect.isclass(found) else set()
    )
    return next((kind for name, kind in _KINDS.items() if name in above), None)


def _parameter(parameter: inspect.Parameter) -> dict[str, Any]:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    without_default = parameter.default is parameter.empty
    annotation = parameter.annotation
    return {
        "name": parameter.name,
        "kind": parameter.kind.name.lower(),
        "required": without_default and not variadic,
        "default": None if without_default else _short(repr(parameter.default)),
        "annotation": None if annotation is parameter.empty else _short(inspect.formatannotation(annotation)),
    }


def _import_file(file: Path) -> Any:
    """The module of a file that lies on no search path, under a name that hides nothing."""
    name = f"kladml_target_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, file)
    if specification is None or specification.loader is None:
        raise UnusableError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(specification)
    # Before it runs: dataclasses and pickling look a class's module up there.
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def _fault(error: BaseException, target: str) -> dict[str, Any]:
    """An exception of the import as the answer, at the deepest line that is not of the import system."""
    if isinstance(error, KladMLError):
        return {"error": error.message, "hint": error.hint, "file": error.file, "line": error.line}
    if isinstance(error, SyntaxError):
        file, line = error.filename, error.lineno
    else:
        trace, file, line = error.__traceback__, None, None
        while trace is not None:
            name = trace.tb_frame.f_code.co_filename
            if not name.startswith("<frozen") and name not in (__file__, importlib.__file__):
                file, line = name, trace.tb_lineno
            trace = trace.tb_next
    said = _short(f"{type(error).__name__}: {error}")
    return {"error": f"{target} cannot be imported: {said}", "hint": None, "file": file, "line": line}


def main(argv: list[str]) -> int:
    """Prints the signature of one target as one marked line of JSON; 0 when it was found, 3 when not."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m kladml_core.config.inspect TARGET\n")
        return 2
    target = argv[0]
    answer: dict[str, Any]
    try:
        answer = {"target": target, **_describe(load_target(target, Path.cwd()))}
    except (Exception, SystemExit) as error:  # whatever a user's module raises is the answer that was asked for
        answer = _fault(error, target)
    sys.stdout.write(f"\n{_MARK}{json.dumps(answer)}\n")
    return 3 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
