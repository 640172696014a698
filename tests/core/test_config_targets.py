"""Targets are found in source text alone: the workspace first, then where Python looks, and nothing is imported."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from kladml_core.config.inspect import signature
from kladml_core.config.targets import TargetLocation, find_target
from kladml_core.errors import UnusableError
from tests.waiting import wait_for

MODULE = '''"""A module that must never be imported while it is only looked up."""
from __future__ import annotations
import os.path as osp, collections.abc
from json import dumps, loads as read
from typing import TYPE_CHECKING
raise SystemExit("imported!")
if TYPE_CHECKING:
    from nowhere import OnlyForTypes
if osp.sep == "/":
    class OnLinux: ...
else:
    class Elsewhere: ...
try:
    def fast(): ...
except ImportError as error:
    def slow(): ...
for index in range(3):
    looped = index
with open("x") as stream: pass
one, (two, *three) = 1, (2, 3)
declared: int
annotated: int = 3
if (walrus := 3) > 2: pass
async def coroutine(): ...
class Net:
    @classmethod
    def small(cls): ...
if __name__ == "__main__":
    hidden = 1
'''


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "mod.py").write_text(MODULE)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "__init__.py").write_text("raise SystemExit('parent imported!')\n")
    (tmp_path / "deep" / "er" / "__init__.py").write_text("from .net import Inner\n")
    (tmp_path / "deep" / "er" / "net.py").write_text("class Inner: ...\n")
    (tmp_path / "loose" / "part").mkdir(parents=True)
    (tmp_path / "loose" / "part" / "net.py").write_text("class Apart: ...\n")
    (tmp_path / "json.py").write_text("class Mine: ...\n")
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "my-net.py").write_text("class Odd: ...\n")
    return tmp_path


@pytest.mark.parametrize(
    ("target", "file", "line", "kind"),
    [
        ("mod:Net", "mod.py", 25, "class"),
        ("mod.py:Net", "mod.py", 25, "class"),
        ("./mod.py:Net", "mod.py", 25, "class"),
        ("mod:OnLinux", "mod.py", 10, "class"),
        ("mod:Elsewhere", "mod.py", 12, "class"),
        ("mod:fast", "mod.py", 14, "function"),
        ("mod:slow", "mod.py", 16, "function"),
        ("mod:coroutine", "mod.py", 24, "function"),
        ("mod:looped", "mod.py", 18, "variable"),
        ("mod:stream", "mod.py", 19, "variable"),
        ("mod:three", "mod.py", 20, "variable"),
        ("mod:annotated", "mod.py", 22, "variable"),
        ("mod:walrus", "mod.py", 23, "variable"),
        ("mod:osp", "mod.py", 3, "import"),
        ("mod:collections", "mod.py", 3, "import"),
        ("mod:read", "mod.py", 4, "import"),
        ("mod:Net.small", "mod.py", 25, "unknown"),
        ("deep.er:Inner", "deep/er/__init__.py", 1, "import"),
        ("deep.er.net:Inner", "deep/er/net.py", 1, "class"),
        ("deep.er:net", "deep/er/__init__.py", None, "module"),
        ("loose.part.net:Apart", "loose/part/net.py", 1, "class"),
        ("json:Mine", "json.py", 1, "class"),
        ("a b/my-net.py:Odd", "a b/my-net.py", 1, "class"),
    ],
)
def test_a_target_is_found_where_it_is_defined(
    target: str, file: str, line: int | None, kind: str, workspace: Path
) -> None:
    name = target.rpartition(":")[2]
    found = find_target(target, workspace)
    assert found == TargetLocation(str(workspace / file), line, name, kind)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("mod:Nett", "mod.py has no 'Nett'. Did you mean mod:Net?"),
        ("mod:NET", "mod.py has no 'NET'. Did you mean mod:Net?"),
        ("mod:zzzzz", "mod.py has no 'zzzzz'. It defines OnLinux, Elsewhere, fast"),
        ("mod:OnlyForTypes", "mod.py has no 'OnlyForTypes'"),
        ("mod:hidden", "mod.py has no 'hidden'"),
        ("mod:declared", "mod.py has no 'declared'"),
        ("mdo:Net", "there is no module 'mdo'. Did you mean mod?"),
        ("deep.err.net:Inner", "there is no module 'deep.err'. Did you mean deep.er.net?"),
        ("deep.zzz:Inner", "there is no module 'deep.zzz'. The package deep holds er"),
        ("mod.sub:Net", "mod is a module and holds no other. It is mod.py"),
        ("qqqqqqqq:Net", "there is no module 'qqqqqqqq'. Modules are looked up in the workspace"),
        ("skleran.datasets:load", "there is no module 'skleran'. Did you mean sklearn.datasets?"),
        ("mo.py:Net", "there is no file mo.py. Did you mean mod.py?"),
        ("nowhere/mod.py:Net", "there is no file nowhere/mod.py. Paths are looked up from the workspace"),
        ("deep/:Net", "deep/ is no Python file. Did you mean deep.py:Net?"),
        ("mod", "'mod' is no target. Write module:Name"),
        ("mod:", "'mod:' is no target"),
        (":Net", "':Net' is no target"),
        ("mod:Net()", "'Net()' in 'mod:Net()' is no name of Python"),
        ("my-mod:Net", "'my-mod' is no module"),
        ("..mod:Net", "'..mod' is no module"),
    ],
)
def test_a_target_that_is_missing_is_unusable(target: str, says: str, workspace: Path) -> None:
    with pytest.raises(UnusableError) as caught:
        find_target(target, workspace)
    assert says in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "source",
    [
        "def __getattr__(name): return 1",
        "from os.path import *",
        "globals()['Net'] = 1",
        "exec('Net = 1')",
        "def later():\n    global Net\n    Net = 1",
        "import sys\nsys.modules[__name__] = object()",
    ],
)
def test_a_module_that_makes_names_while_running_is_left_to_running(source: str, workspace: Path) -> None:
    (workspace / "dynamic.py").write_text(source)
    assert find_target("dynamic:Net", workspace).kind == "unknown"


def test_python_itself_and_what_is_installed_are_found(workspace: Path) -> None:
    assert find_target("os.path:join", workspace).kind in ("unknown", "function")
    assert find_target("collections:OrderedDict", workspace).file.endswith("collections/__init__.py")
    assert find_target("math:sqrt", workspace).kind == "unknown"
    assert find_target("sys:path", workspace).kind == "unknown"
    assert find_target("torch.optim:AdamW", workspace).kind == "import"
    assert find_target("sklearn.datasets:load_digits", workspace).line


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"def f(:\n", "on line 1"),
        (b"\xff\xfe", "is no valid Python"),
        (b"x = 1\0", "is no valid Python"),
        (b"# coding: nonsense\n", "is no valid Python"),
        (b"(" * 500, "is no valid Python"),
    ],
)
def test_source_that_is_no_python_is_unusable(source: bytes, says: str, workspace: Path) -> None:
    (workspace / "broken.py").write_bytes(source)
    with pytest.raises(UnusableError) as caught:
        find_target("broken:Net", workspace)
    assert "broken.py" in str(caught.value)
    assert says in str(caught.value)


def test_a_doubtful_escape_in_the_source_writes_nothing(workspace: Path) -> None:
    (workspace / "escape.py").write_text('Net = "\\d"\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_target("escape:Net", workspace).line == 1


def test_a_changed_file_is_read_again(workspace: Path) -> None:
    (workspace / "new.py").write_text("class First: ...\n")
    find_target("new:First", workspace)
    (workspace / "new.py").write_text("class SecondOne: ...\n")
    assert find_target("new:SecondOne", workspace).line == 1
    with pytest.raises(UnusableError):
        find_target("new:First", workspace)


def test_looking_imports_neither_the_module_nor_its_parents(workspace: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from kladml_core.config.targets import find_target\n"
        f"root = Path({str(workspace)!r})\n"
        "for target in ('deep.er.net:Inner', 'mod:Net', 'sklearn.datasets:load_digits', 'torch.optim:AdamW'):\n"
        "    find_target(target, root)\n"
        "assert not {'deep', 'mod', 'sklearn', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_signature_tells_what_a_target_takes(workspace: Path) -> None:
    (workspace / "sized.py").write_text(
        "print('noise on stdout')\n"
        "class Net:\n    '''A net.'''\n"
        "    def __init__(self, width: int, depth=2, *, name: str | None = None, **rest): ...\n"
    )
    found = signature("sized.py:Net", workspace)
    assert (found["kind"], found["line"], found["doc"]) == ("class", 2, "A net.")
    assert [(one["name"], one["required"], one["default"]) for one in found["parameters"]] == [
        ("width", True, None),
        ("depth", False, "2"),
        ("name", False, "None"),
        ("rest", False, None),
    ]
    assert found["parameters"][0]["annotation"] == "int"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nothing_of_that_name\ndef f(): ...", "ModuleNotFoundError"),
        ("x = 1\n1 / 0\ndef f(): ...", "ZeroDivisionError: division by zero"),
        ("import os\nos._exit(9)\ndef f(): ...", "ended the process that imported it (exit code 9)"),
        ("raise SystemExit(0)\ndef f(): ...", "SystemExit"),
        ("def f(): ...\ndel f", "has no 'f' once it is imported"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told(source: str, says: str, workspace: Path) -> None:
    (workspace / "bad.py").write_text(source)
    with pytest.raises(UnusableError) as caught:
        signature("bad:f", workspace)
    assert says in str(caught.value)


def test_the_line_of_a_failing_import_is_told(workspace: Path) -> None:
    (workspace / "bad.py").write_text("import inner\ndef f(): ...\n")
    (workspace / "inner.py").write_text("\n\nraise ValueError('no')\n")
    with pytest.raises(UnusableError) as caught:
        signature("bad:f", workspace)
    assert (caught.value.file, caught.value.line) == (str(workspace / "inner.py"), 3)


def test_an_import_without_end_is_ended_with_all_it_started(workspace: Path) -> None:
    (workspace / "bad.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "time.sleep(600)\ndef f(): ...\n"
    )
    with pytest.raises(UnusableError, match="took longer than 6 s to import"):
        signature("bad:f", workspace, timeout=6.0)
    state = Path(f"/proc/{(workspace / 'child').read_text()}/stat")

    def over() -> bool:
        try:
            return state.read_text().split()[2] == "Z"
        except OSError:
            return True

    wait_for(over, message="what the import started goes on")


def test_what_a_module_defines_is_suggested_before_what_it_imports(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import torch\nfrom far import Nearby\nclass Net: ...\ndef load(): ...\n")
    for name, says in (("nosuch", "It defines Net, load"), ("lod", "Did you mean m.py:load"), ("Nearb", "m.py:Nearby")):
        with pytest.raises(UnusableError, match=says):
            find_target(f"m.py:{name}", tmp_path)
