"""The configs of a workspace: made of a model's signature, copied, renamed, checked, described to editors."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from kladml_core.config.inspect import signature
from kladml_core.config.json_schema import json_schema
from kladml_core.config.keys import schema_keys
from kladml_core.config.load import parse, read
from kladml_core.config.schema import RunConfig
from kladml_core.config.template import template
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import Settings, load_settings
from kladml_core.workspace.choose import choose_config
from kladml_core.workspace.configs import config_row, differences, duplicate, listing, new_path, rename, write_new
from kladml_core.workspace.dataset_register import register

GOOD = 'model: {target: "mod:Net"}\ndata: {target: "mod:load"}\ntraining: {max_epochs: 3}\n'
MODEL = """
from torch import nn
from kladml_core import TorchModel

class Net(nn.Module):
    def __init__(self, in_channels: int, num_classes: int, hidden=32, act="relu", bias=None, *, depth: int): ...

class Mine(TorchModel):
    def build(self):
        width = self.config["width"]
        return nn.Linear(width, self.config.get("classes", 10))

    def training_step(self, module, batch):
        return self.config.get("scale", 0.5) * self.config.get("width", 1)

def load(): ...
"""
EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "kladml_core" / "examples").glob("*.yaml"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of a workspace with one config."""
    (tmp_path / "kladml.yaml").write_text("")
    (tmp_path / "mod.py").write_text("class Net: ...\ndef load(): ...\n")
    (tmp_path / "data" / "configs").mkdir(parents=True)
    (tmp_path / "data" / "configs" / "a.yaml").write_text(GOOD)
    return load_settings(tmp_path)


def config(settings: Settings, name: str = "a.yaml") -> Path:
    return settings.config_dirs[0] / name


def test_a_template_holds_what_the_model_takes_and_what_the_data_says_of_it(settings: Settings) -> None:
    root = settings.root
    (root / "net.py").write_text(MODEL)
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros((20, 3, 8, 8), np.float32), y=np.arange(20) % 7)
    for split in ("train", "val"):
        (root / f"{split}.npz").write_bytes(buffer.getvalue())
        register(root, f"cats-{split}", path=f"{split}.npz", split=split)
    made = template(root, "net.py:Net", "cats-train")
    found = parse(made.text, "made.yaml").data
    params = {"in_channels": 3, "num_classes": 7, "hidden": 32, "act": "relu", "depth": None}
    assert found["model"] == {"target": "net.py:Net", "params": params}
    assert found["data"] == {"train": "cats-train", "val": "cats-val"}
    assert found["loss"] == "cross_entropy" and found["training"]["batch_size"] == 20
    assert made.open == ("model.params.depth",)
    path = write_new(new_path(settings, "made"), made.text)
    assert config_row(path, settings).problems == ()


def test_a_template_of_a_model_of_ours_holds_what_it_reads_of_its_config(settings: Settings) -> None:
    (settings.root / "net.py").write_text(MODEL)
    known = signature("net.py:Mine", settings.root)
    assert known["model"] == "torch_model" and signature("net.py:Net", settings.root)["model"] == "module"
    assert {one["name"]: one["required"] for one in known["config"]} == {
        "width": True,
        "classes": False,
        "scale": False,
    }
    made = template(settings.root, "net.py:Mine")
    found = parse(made.text, "made.yaml").data
    assert found["model"]["params"] == {"width": None, "classes": 10, "scale": 0.5}
    assert found["data"] == {"target": "net.py:load"} and "loss" not in found and made.open == ("model.params.width",)


def test_a_template_of_nothing_is_refused_before_a_file_is_made(settings: Settings) -> None:
    with pytest.raises(UnusableError, match="no module 'nope'"):
        template(settings.root, "nope:Net")
    with pytest.raises(ConfigError, match="no dataset named 'digits'"):
        template(settings.root, "mod:Net", "digits")


def test_a_config_is_copied_and_renamed_but_never_over_another(settings: Settings) -> None:
    copy = duplicate(config(settings), settings, "b")
    assert copy.name == "b.yaml" and copy.read_text() == GOOD
    for name in ("b", "b.yaml"):
        with pytest.raises(UnusableError, match="is there already"):
            duplicate(config(settings), settings, name)
        with pytest.raises(UnusableError, match="is there already"):
            rename(config(settings), settings, name)
    assert copy.read_text() == GOOD and config(settings).read_text() == GOOD
    assert sorted(path.name for path in config(settings).parent.iterdir()) == ["a.yaml", "b.yaml"]


def test_who_renames_a_config_hears_where_its_runs_go_now(settings: Settings) -> None:
    path, told = rename(config(settings), settings, "[x] 漢")
    assert path.name == "[x] 漢.yaml" and not config(settings).exists()
    assert "its runs go to default/default/[x] 漢 now; `experiment: a` in it keeps" in told
    path.write_text(f"experiment: mine\n{GOOD}")
    assert rename(path, settings, "b")[1] == ""


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "run_0001", "x" * 200, "a\nb"])
def test_a_name_that_no_file_can_have_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a config"):
        new_path(settings, name)


def test_every_config_is_checked_at_once(settings: Settings) -> None:
    config(settings, "b.yaml").write_text(GOOD.replace("max_epochs", "max_epoch"))
    config(settings, "c.yaml").write_text("model: [open\n")
    rows = {row.path.name: row for row in listing(settings)}
    assert rows["a.yaml"].problems == () and rows["a.yaml"].place == ("default", "default", "a")
    assert rows["b.yaml"].problems[0].line == 3 and "max_epoch" in rows["b.yaml"].problems[0].message
    assert rows["c.yaml"].place is None and rows["c.yaml"].problems[0].exit_code == 2


def test_a_config_is_held_against_what_a_run_recorded(settings: Settings) -> None:
    run = RunDirectory.create(settings.data, "default", "default", "a", seed=0)
    text = RunConfig.model_validate({**read(config(settings)).data, "experiment": "a", "seed": 7}).model_dump_json()
    run.config.write_text(text.replace('"max_epochs":3', '"max_epochs":9'))
    found = {one.key: (one.config, one.run, one.change) for one in differences(config(settings), run, settings)}
    assert found == {"seed": (0, 7, "identity"), "training.max_epochs": (3, 9, "schedule")}


# The schema


def valid(data: Any) -> bool:
    return bool(jsonschema.Draft7Validator(json_schema()).is_valid(data))


def test_the_schema_is_one_and_takes_our_own_examples() -> None:
    jsonschema.Draft7Validator.check_schema(json_schema())
    assert len(EXAMPLES) >= 3
    for path in EXAMPLES:
        errors = [error.message for error in jsonschema.Draft7Validator(json_schema()).iter_errors(read(path).data)]
        assert errors == [], path.name


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ("seed:\n", True),
        ("loss: mse\n", True),
        ("loss: mine.py:half\n", True),
        ("loss: msee\n", False),
        ("sed: 1\n", False),
        ("seed: one\n", False),
        ("project: .hidden\n", False),
        ("experiment: run_0001\n", False),
        ("launch: {device: cuda:1}\n", True),
        ("launch: {device: gpu}\n", False),
    ],
)
def test_the_schema_says_of_the_top_level_what_the_check_says(change: str, good: bool) -> None:
    assert valid(parse(change + GOOD, "a.yaml").data) is good


@pytest.mark.parametrize(
    ("training", "good"),
    [
        ("{max_epochs: 3, optimizer: sgd}", True),
        ("{max_epochs: 3, optimizer: {name: sgd, momentum: 0.9}}", True),
        ("{max_epochs: 3, optimizer: {name: adamw, momentum: 0.9}}", False),
        ("{max_epochs: 3, optimizer: {name: mod:Mine, anything: 1}}", True),
        ("{max_epochs: 3, optimizer: sdg}", False),
        ("{max_epochs: 3, lr_scheduler: {name: cosine, warmup: 20}}", True),
        ("{max_epochs: 3, lr_scheduler: {name: cosine, patience: 2}}", False),
        ("{max_steps: 3, max_time: 1h30m}", True),
        ("{max_steps: 3, max_time: soon}", False),
        ("{max_steps: 3, hang_timeout: null}", True),
        ("{max_steps: 3, grace_seconds: null}", False),
        ("{max_steps: 3, checkpoint: {every_seconds: 10m}}", True),
        ("{max_steps: 3, checkpoint: {every_seconds: -1}}", False),
        ("{max_steps: 3, mixed_precision: half}", False),
        ("{batch_size: 3}", False),
    ],
)
def test_the_schema_says_of_training_what_the_check_says(training: str, good: bool) -> None:
    assert valid(parse(GOOD.replace("{max_epochs: 3}", training), "a.yaml").data) is good


def test_the_schema_explains_every_key_of_the_editor() -> None:
    schema = json_schema()
    sections = schema["$defs"]
    where = {
        (): schema["properties"],
        ("model",): sections["ModelSection"]["properties"],
        ("data",): sections["DataSection"]["properties"],
        ("training",): sections["TrainingConfig"]["properties"],
        ("training", "checkpoint"): sections["CheckpointPolicy"]["properties"],
        ("training", "early_stopping"): sections["EarlyStopping"]["properties"],
        ("launch",): sections["LaunchSection"]["properties"],
    }
    for path, properties in where.items():
        for key in schema_keys(path):
            assert key.help in properties[key.name].get("description", ""), (path, key.name)


def test_a_config_is_named_with_or_without_its_ending(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    root, folder = settings.root, settings.root / "data" / "configs"
    (root / "elsewhere" / "a").mkdir(parents=True)
    monkeypatch.chdir(root / "elsewhere")
    (folder / "b.yml").write_text(GOOD)
    (folder / "plain").write_text(GOOD)
    (folder / "plain.yaml").write_text(GOOD)
    (root / "v1.5.yaml").write_text(GOOD)
    names = ["a", "a.yaml", "b", "b.yml", "plain", "plain.yaml", "v1.5", "data/configs/a", str(folder / "a")]
    found = [choose_config(Path(name), root).resolve() for name in names]
    places = [folder / "a.yaml"] * 2 + [folder / "b.yml"] * 2 + [folder / "plain", folder / "plain.yaml"]
    assert found == [*places, root / "v1.5.yaml", folder / "a.yaml", folder / "a.yaml"]
    for name in ("kladml", "b.yaml", "aa"):  # settings are no config, and an ending is taken at its word
        with pytest.raises(UnusableError, match="no such file"):
            choose_config(Path(name), root)
