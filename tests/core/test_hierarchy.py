"""Projects, families and experiments: made, described, archived, renamed, deleted, and brought back."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from kladml_core.config.load import read
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs import trash
from kladml_core.runs.clone import copy_text, prepare_clone
from kladml_core.runs.files import write_json
from kladml_core.runs.launch import prepare
from kladml_core.runs.moving import FILE, moving
from kladml_core.runs.notices import watch_folder
from kladml_core.runs.processes import host_name
from kladml_core.runs.queue import enqueue, pause, remove
from kladml_core.runs.queue_items import read_items
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.settings import load_settings
from kladml_core.workspace.choose_runs import choose_runs, fresh_index
from kladml_core.workspace.config_places import naming, rename_in_configs
from kladml_core.workspace.descriptions import read_description
from kladml_core.workspace.hierarchy import archive, create, delete, describe, rename
from kladml_core.workspace.places import find_place, listing
from tests.core.pruned_runs import a_run, set_status
from tests.core.queue_workspace import add, queue_workspace

CNN = "vision/digits/cnn"
CONFIG = """\
# ours
project: vision
family: digits
experiment: cnn  # the first
model: {target: "kladml_core.examples.diabetes:DiabetesMLP"}
data: {target: "kladml_core.examples.diabetes:load"}
training: {max_epochs: 3}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of a workspace."""
    (tmp_path / "kladml.yaml").write_text("")
    (tmp_path / "data" / "configs").mkdir(parents=True)
    return tmp_path / "data"


def keys(data: Path, below: str = "") -> list[str]:
    return [row.place.key for row in listing(data, below)]


def test_an_experiment_is_made_with_all_that_it_lies_in_and_described_in_its_file(data: Path) -> None:
    create(data, CNN, title="First", description="8x8 images")
    assert keys(data) == ["vision", "vision/digits", CNN]
    file = data / "projects" / CNN / "experiment.yaml"
    assert read(file).data == {"title": "First", "description": "8x8 images"}
    file.write_text("# ours\ntitle: First\nlast_run: 7\nowner: ada  # kept\n")
    describe(data, CNN, title="Second")
    assert file.read_text() == "# ours\ntitle: Second\nlast_run: 7\nowner: ada  # kept\n"
    assert RunDirectory.create(data, "vision", "digits", "cnn", seed=0).path.name == "run_0008"


def test_one_name_under_two_families_is_two_experiments(data: Path) -> None:
    create(data, CNN, title="Digits")
    create(data, "vision/letters/cnn", title="Letters")
    a_run(data, experiment="vision/letters/cnn")
    rows = {row.place.key: (row.description.title, row.runs) for row in listing(data)}
    assert rows[CNN] == ("Digits", 0) and rows["vision/letters/cnn"] == ("Letters", 1) and rows["vision"] == ("", 1)
    delete(data, CNN)
    assert keys(data, "vision/letters") == ["vision/letters", "vision/letters/cnn"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("vision/.x", "must not begin with a dot"),
        ("run_0001", "is what runs are called"),
        ("vision/run_12", "is what runs are called"),
        ("Project.yaml", "is a file of the workspace's own"),
        ("v" * 101, "at most 100 characters"),
        ("漢" * 90, "is too long for the name of a folder"),
        ("a\x1bb", "must not hold control characters"),
        ("a\u202eb", "must not hold U+202E"),
        (" a", "must not begin or end with a space"),
        ("a/b/c/d", "names no project, family or experiment"),
        ("a//b", "names no project, family or experiment"),
        ("..", "names no project, family or experiment"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(data: Path, name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why.replace("+", r"\+")):
        create(data, name)
    assert not (data / "projects").exists()


def test_hostile_and_foreign_names_are_names(data: Path) -> None:
    for name in ("[/x]", "漢字", "שלום", "a'b\"c", "-rf", "$(true)", "e\u0301te\u0301"):
        create(data, name)
        rename(data, name, f"{name}!")
    assert len(keys(data)) == 8 and unicodedata.normalize("NFC", "e\u0301te\u0301!") in keys(data)


def test_a_name_is_one_however_unicode_writes_it_and_case_is_warned_of(data: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "été")
    (data / "projects" / decomposed).mkdir(parents=True)
    assert find_place(data, "été").names == (decomposed,)
    with pytest.raises(UnusableError, match="already"):
        create(data, "été")
    rename(data, decomposed, "été")
    assert os.listdir(data / "projects") == ["été"]
    assert "'été' beside 'Été'" in create(data, "Été").warnings[0]
    with pytest.raises(UnusableError, match="Did you mean"):
        find_place(data, "ÉTÉ")


def test_launching_into_a_name_of_other_case_is_warned_of(data: Path) -> None:
    create(data, "Vision")
    config = data / "configs" / "a.yaml"
    config.write_text(CONFIG)
    assert "'Vision' beside 'vision'" in prepare(config, workspace=data.parent).warnings[0]


def test_a_rename_takes_runs_their_numbers_and_their_identity_along(data: Path) -> None:
    first, last = a_run(data), a_run(data)
    uid = (last.read_run() or {})["uid"]
    (last.path.parent / "experiment.yaml").write_text("last_run: 9\n")
    assert rename(data, CNN, "mlp").place.key == "vision/digits/mlp"
    moved = RunDirectory(data / "projects" / "vision/digits/mlp/run_0002")
    assert (moved.read_run() or {})["uid"] == uid and read_status(moved).status == "finished"
    assert not first.path.parent.exists() and not (moved.path.parent / FILE).exists()
    assert RunDirectory.create(data, "vision", "digits", "mlp", seed=0).path.name == "run_0010"


def test_an_experiment_may_move_into_another_family_but_never_over_one(data: Path) -> None:
    a_run(data)
    rename(data, CNN, "vision/letters/cnn")
    create(data, CNN)
    with pytest.raises(UnusableError, match="already"):
        rename(data, CNN, "vision/letters/cnn")
    with pytest.raises(ConfigError, match="an experiment cannot become"):
        rename(data, CNN, "vision/letters")
    assert keys(data)[-1] == "vision/letters/cnn"


@pytest.mark.parametrize("status", ["queued", "starting", "running", "stopping"])
def test_what_lives_is_neither_renamed_nor_deleted(data: Path, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(data, status=status)
    if status == "queued":
        monkeypatch.setattr("kladml_core.runs.status.is_queued", lambda run, state: True)
    for change in (
        lambda: rename(data, "vision", "x"),
        lambda: delete(data, "vision/digits"),
        lambda: delete(data, CNN),
    ):
        with pytest.raises(UnusableError, match=f"run_0001 is {status}"):
            change()
    assert run.path.is_dir() and not list(data.rglob(FILE)) and not trash.entries(data)
    set_status(run, "finished")
    monkeypatch.undo()
    delete(data, "vision")


def test_a_run_on_another_host_keeps_its_experiment_in_place(data: Path) -> None:
    run = a_run(data, status="running")
    write_json(run.state_json, {**(run.read_state() or {}), "host": "elsewhere"})
    with pytest.raises(UnusableError, match="running on elsewhere"):
        rename(data, CNN, "mlp")


def test_what_is_just_being_started_keeps_it_in_place_too(data: Path) -> None:
    run = a_run(data)
    run.claim_attempt()
    with pytest.raises(UnusableError, match="is being started"):
        delete(data, CNN)
    fresh = RunDirectory.create(data, "vision", "digits", "mlp", seed=0)
    with pytest.raises(UnusableError, match="run_0001 is starting"):
        rename(data, "vision", "x")
    assert fresh.path.is_dir()


def test_nothing_is_launched_into_what_is_on_its_way(data: Path) -> None:
    run = a_run(data)
    with moving(data / "projects" / "vision", "renamed"):
        with pytest.raises(UnusableError, match="vision is being renamed by process"):
            RunDirectory.create(data, "vision", "digits", "cnn", seed=0)
        with pytest.raises(UnusableError, match="is being renamed"):
            run.claim_attempt()
        with pytest.raises(UnusableError, match="is being renamed"):
            delete(data, CNN)
    assert os.listdir(run.path.parent) == ["run_0001"] and run.latest_attempt() == 1
    assert run.claim_attempt() == 2


def test_the_mark_of_a_process_that_died_counts_for_nothing(data: Path) -> None:
    a_run(data)
    code = f"""
import os
from pathlib import Path
from kladml_core.runs.moving import moving
with moving(Path({str(data / "projects" / "vision")!r}), "renamed"):
    os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert (data / "projects" / "vision" / FILE).exists()
    rename(data, "vision", "sight")
    assert not list(data.rglob(FILE))


def test_launches_and_renames_at_once_lose_no_run(data: Path, tmp_path: Path) -> None:
    """A process launches run after run into an experiment that is renamed forth and back all the time."""
    code = f"""
import shutil
from pathlib import Path
from kladml_core.errors import UnusableError
from kladml_core.runs.files import write_json
from kladml_core.runs.rundir import RunDirectory
data, done = Path({str(data)!r}), 0
while done < 300:
    try:
        run = RunDirectory.create(data, "vision", "digits", "cnn", seed=0)
    except UnusableError:
        continue
    try:
        attempt = run.claim_attempt(0)
        write_json(run.state_json, {{"v": 1, "status": "finished", "attempt": attempt}}, durable=False)
    except UnusableError:
        shutil.rmtree(run.path, ignore_errors=True)  # as every launch does
        continue
    done += 1
    print((run.read_run() or {{}}).get("uid") or run.reference, flush=True)
"""
    create(data, CNN)
    moved = 0
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        while child.poll() is None:
            for old, new in ((CNN, "vision/digits/mlp"), ("vision/digits/mlp", CNN)):
                try:
                    rename(data, old, new)
                    moved += 1
                except UnusableError:
                    continue
        assert child.stdout is not None
        launched = child.stdout.read().split()
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0 and len(launched) == 300 and moved > 0
    found = [RunDirectory(path) for path in (data / "projects").glob("*/*/*/run_*")]
    kept = {(run.read_run() or {}).get("uid") for run in found}
    # A run whose launcher was still looking when it ended may be named by its reference.
    assert {one for one in launched if "/" not in one} <= kept
    assert not list(data.rglob(FILE))


def test_a_deleted_family_comes_back_exactly_with_undo(data: Path) -> None:
    a_run(data)
    create(data, "vision/digits/empty", title="Nothing yet")
    before = {path.relative_to(data): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    done = delete(data, "vision/digits")
    assert keys(data) == ["vision"]
    entry = trash.entries(data)[0]
    assert (entry.name, entry.things[0].kind, entry.things[0].run) == (done.entry, "family", "vision/digits")
    assert trash.restore(data).left == ()
    after = {path.relative_to(data): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert after == before and trash.entries(data) == []


def test_what_was_made_anew_is_not_overwritten_by_undo(data: Path) -> None:
    a_run(data)
    delete(data, "vision")
    create(data, "vision")
    assert "there is something at" in trash.restore(data).left[0][1]
    assert [thing.kind for thing in trash.entries(data)[0].things] == ["project"]


def test_archiving_hides_it_and_what_lies_in_it_until_a_launch(data: Path) -> None:
    create(data, CNN)
    archive(data, "vision")
    assert [row.hidden for row in listing(data)] == [True] * 3 and listing(data, CNN)[0].hidden
    archive(data, CNN)
    archive(data, "vision", archived=False)
    assert [row.hidden for row in listing(data)] == [False, False, True]


def test_a_launch_brings_back_what_was_archived_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = queue_workspace(tmp_path, monkeypatch)
    data = lab / "data"
    create(data, "default/default/quick")
    archive(data, "default")
    archive(data, "default/default/quick")
    pause(data)
    (entry,) = add(lab)
    assert not any(row.hidden for row in listing(data))
    run = RunDirectory(data / "projects" / entry.reference)
    assert [word for word in run.warnings(1) if "was archived" in word] == [
        "project 'default' was archived; it is shown again",
        "experiment 'quick' was archived; it is shown again",
    ]
    with pytest.raises(UnusableError, match="run_0001 is queued"):
        rename(data, "default", "x")
    remove(data, entry)
    rename(data, "default", "x")


@pytest.mark.parametrize("with_index", [False, True])
def test_what_is_damaged_counts_as_a_run_wherever_runs_are_counted(data: Path, with_index: bool) -> None:
    good = a_run(data, experiment=CNN, steps=()).path
    (good.parent / "run_0009").write_text("")
    (good.parent / "run_0010").symlink_to("nowhere")
    (good.parent / "run_0001 (copy)").mkdir()
    index = fresh_index(load_settings(data.parent)) if with_index else None
    rows = choose_runs(data, index=index).rows
    assert [row.status.status for row in rows].count("damaged") == 3
    assert [row.runs for row in listing(data)] == [len(rows)] * 3 == [4] * 3


def test_a_damaged_file_hides_nothing_and_is_left_alone(data: Path) -> None:
    create(data, "vision")
    file = data / "projects" / "vision" / "project.yaml"
    file.write_text("title: [open\n")
    assert str(file) in listing(data)[0].description.problem
    with pytest.raises(ConfigError):
        archive(data, "vision")
    assert file.read_text() == "title: [open\n"
    file.write_text("title: 3\narchived: perhaps\n")
    found = read_description(file)
    assert "title is no text, archived is neither true nor false" in found.problem and not found.archived


def test_queue_and_lists_follow_a_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = queue_workspace(tmp_path, monkeypatch)
    data = lab / "data"
    run = a_run(data, experiment="default/default/quick")
    pause(data)
    plan = prepare(lab / "quick.yaml", workspace=lab)
    entry = enqueue(plan)
    item = read_items(data)[0]
    waits = RunDirectory(data / "projects" / item.run)
    write_json(waits.state_json, {"v": 1, "status": "failed", "attempt": 1, "queue": {}})
    file = next((data / "queue" / host_name()).glob("0*.json"))
    file.write_text(file.read_text().replace('"waiting"', '"failed"'))
    listened = watch_folder(data) / "abc-001.json"
    listened.parent.mkdir(parents=True)
    write_json(listened, {"v": 1, "run": str(run.path.resolve()), "attempt": 1, "offset": 7, "told": []})
    assert rename(data, "default/default", "other").warnings == ()
    assert read_items(data)[0].run == entry.reference.replace("default/default", "default/other")
    assert f'"{data / "projects/default/other/quick/run_0001"}"' in listened.read_text()
    assert '"offset": 7' in listened.read_text()


def test_configs_that_name_it_are_told_and_changed_where_that_is_wanted(data: Path) -> None:
    config = data / "configs" / "a.yaml"
    config.write_text(CONFIG)
    (data / "configs" / "cnn.yaml").write_text("project: vision\nfamily: digits\nmodel: x\n")
    (data / "configs" / "other.yaml").write_text("project: vision\nmodel: x\n")
    (data / "configs" / "torn.yaml").write_text("project: [vision\n")
    create(data, CNN)
    settings = load_settings(data.parent)
    assert [path.name for path in naming(settings, CNN)] == ["a.yaml", "cnn.yaml"]
    assert [path.name for path in naming(settings, "vision")] == ["a.yaml", "cnn.yaml", "other.yaml"]
    found = naming(settings, CNN)
    assert rename_in_configs(found, CNN, "vision/digits/mlp") == []
    assert config.read_text() == CONFIG.replace("experiment: cnn  # the first", "experiment: mlp")
    assert naming(settings, CNN) == [] and [path.name for path in naming(settings, "vision/digits/mlp")] == [
        "a.yaml",
        "cnn.yaml",
    ]


def test_a_clone_of_a_renamed_run_is_filed_where_that_lies_now(data: Path) -> None:
    run = a_run(data)
    run.config.write_text(CONFIG)
    rename(data, "vision", "sight")
    moved = RunDirectory(data / "projects" / "sight/digits/cnn/run_0001")
    config = prepare_clone(moved, workspace=data.parent).config
    assert (config.project, config.family, config.experiment) == ("sight", "digits", "cnn")
    assert prepare_clone(moved, workspace=data.parent, overrides=["project=mine"]).config.project == "mine"
    assert copy_text(moved).splitlines()[1:3] == ["# ours", "project: sight"]
