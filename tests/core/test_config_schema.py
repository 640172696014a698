"""A run's config: defaults, every problem in words at its place, and what the editor learns of each key."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from kladml_core.config.load import Document, dump, parse
from kladml_core.config.schema import (
    Problem,
    RunConfig,
    problems,
    resolve,
    schema_keys,
)
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.settings import load_settings

ROOT = Path(__file__).parents[2]
HEAD = 'model: {target: "mod:Net"}\ndata: {target: "mod:load"}\n'
GOOD = HEAD + "training: {max_epochs: 3}\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "kladml.yaml").write_text("launch: {device: cpu}\n")
    (tmp_path / "mod.py").write_text("class Net: ...\ndef load(): ...\ndef loss(output, y): ...\n")
    return tmp_path


def check(text: str, workspace: Path) -> list[Problem]:
    return problems(parse(text, "c.yaml"), workspace=workspace, settings=load_settings(workspace, {}))


def only(text: str, workspace: Path) -> Problem:
    found = check(text, workspace)
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]


def test_a_short_config_is_filled_with_defaults(workspace: Path) -> None:
    config = resolve(parse(GOOD, "some/cnn base.yaml"), workspace=workspace, settings=load_settings(workspace, {}))
    assert (config.project, config.family, config.experiment, config.seed) == ("default", "default", "cnn base", 0)
    assert config.launch.device == "cpu"
    assert config.training.learning_rate == 1e-3
    assert config.training.mixed_precision == "no"
    assert config.training.early_stopping.monitor == "val/loss"
    assert config.training.checkpoint.keep_last == 2
    assert config.training.optimizer_choice == ("adamw", {})


def test_what_is_resolved_is_read_back_as_the_same_config(workspace: Path) -> None:
    text = HEAD.replace("mod:Net", "mod:Net").replace("}\n", "}\n", 1) + (
        "loss: mod:loss\nexperiment: Ünï [bold]\nseed: 4294967295\n"
        "training: {max_steps: 0x10, max_time: 1h30m, optimizer: {name: sgd, momentum: 0.9},\n"
        "  lr_scheduler: {name: cosine, warmup: 0.1}, mixed_precision: no, gradient_clipping: 1}\n"
    )
    config = resolve(parse(text, "c.yaml"), workspace=workspace)
    assert config.training.max_time == 5400.0
    assert config.training.lr_scheduler_choice == ("cosine", {"warmup": 0.1})
    again = RunConfig.model_validate(parse(dump(config.model_dump(mode="json")), "config.yaml").data)
    assert again == config


def test_infinite_and_odd_parameters_of_a_model_survive_the_copy(workspace: Path) -> None:
    text = 'model: {target: "mod:Net", params: {a: .inf, b: [no, 1e-3, null], c: {d: ""}}}\n' + GOOD.split("\n", 1)[1]
    config = resolve(parse(text, "c.yaml"), workspace=workspace)
    again = RunConfig.model_validate(parse(dump(config.model_dump(mode="json")), "config.yaml").data)
    assert again.model.params == {"a": float("inf"), "b": ["no", 1e-3, None], "c": {"d": ""}}


TRAINING_FAULTS: list[tuple[str, str, int]] = [
    ("max_epochs: ten", "training.max_epochs must be a whole number, not 'ten'", 15),
    ("max_epochs: '10'", "Write 10 without quotes", 15),
    ("max_epochs: 2.0", "training.max_epochs must be a whole number, not 2.0. Write 2", 15),
    ("max_epochs: true", "training.max_epochs must be a whole number, not true", 15),
    ("max_epochs: 0", "training.max_epochs must be at least 1, not 0", 15),
    ("max_epochs: .inf", "training.max_epochs must be a whole number, not inf", 15),
    ("max_steps: -1", "training.max_steps must be at least 1, not -1", 14),
    ("max_epoch: 3", "'max_epoch' is no key of training. Did you mean max_epochs?", 3),
    ("batch_size: [1]", "training.batch_size must be a whole number, not a list", 15),
    ("batch_size:", "must be a whole number, not nothing. Remove the key to take its default", 14),
    ("learning_rate: fast", "training.learning_rate must be a number, not 'fast'", 18),
    ("learning_rate: 1e", "training.learning_rate must be a number, not '1e'", 18),
    ("learning_rate: 0", "training.learning_rate must be greater than 0, not 0", 18),
    ("learning_rate: .inf", "training.learning_rate must be a finite number, not inf", 18),
    ("learning_rate: .nan", "training.learning_rate must be", 18),
    ("lr: 0.1", "'lr' is no key of training. Did you mean learning_rate?", 3),
    ("patience: 3", "Did you mean training.early_stopping.patience?", 3),
    ("zzz: 3", "'zzz' is no key of training. The keys are max_epochs, max_steps", 3),
    ("seed: 3", "Write seed: at the top level", 3),
    ("gradient_clipping: 0", "0 sets every gradient to zero, so nothing would be learnt. Write null", 22),
    ("gradient_clipping: 0.0", "0 sets every gradient to zero", 22),
    ("gradient_clipping: -1", "training.gradient_clipping must be greater than 0", 22),
    ("gradient_clipping: off", "training.gradient_clipping must be a number, not 'off'", 22),
    ("mixed_precision: f16", "must be one of no, fp16, bf16, not 'f16'. Did you mean fp16?", 20),
    ("mixed_precision: false", "not false. Write no", 20),
    ("mixed_precision: fp16", "fp16 does not work on launch.device: cpu. Write bf16 or no", 20),
    ("compile: yes", "training.compile must be true or false, not 'yes'. Write true", 12),
    ("deterministic: 1", "training.deterministic must be true or false, not 1", 18),
    ("optimizer: admw", "training.optimizer 'admw' is not known. Did you mean adamw?", 14),
    ("optimizer: AdamW", "training.optimizer 'AdamW' is not known. Did you mean adamw?", 14),
    ("optimizer: lbfgs", "its state cannot be written to a checkpoint", 14),
    ("optimizer: zzzz", "Write module:function, or one of these: adamw, adam, sgd", 14),
    ("optimizer: 3", "training.optimizer must be a name, module:function or {name: …, arguments}, not 3", 14),
    ("optimizer: {momentum: 0.9}", "training.optimizer needs a key `name`", 14),
    ("optimizer: {name: admw}", "training.optimizer 'admw' is not known", 21),
    ("optimizer: {name: adamw, momentum: 1}", "training.optimizer adamw has no argument 'momentum'", 28),
    ("optimizer: {name: sgd, momentun: 1}", "Did you mean momentum?", 26),
    ("optimizer: {name: sgd, lr: 1}", "training.optimizer.lr is written as training.learning_rate", 26),
    ("optimizer: {name: sgd, momentum: high}", "training.optimizer.momentum must be a number", 36),
    ("lr_scheduler: cosin", "training.lr_scheduler 'cosin' is not known. Did you mean cosine?", 17),
    ("lr_scheduler: {name: cosine, warm: 1}", "training.lr_scheduler cosine has no argument 'warm'", 32),
    ("lr_scheduler: {name: cosine, warmup: 2.5}", "a whole number of steps, or a share of all steps below 1", 40),
    ("lr_scheduler: {name: plateau, factor: 2}", "training.lr_scheduler.factor must be a number from 0 to 1", 41),
    ("lr_scheduler: {name: plateau, patience: 2.5}", "must be a whole number of validations, not 2.5", 43),
    ("oom: half", "must be one of fail, halve, not 'half'. Did you mean halve?", 8),
    ("ema_decay: 1", "training.ema_decay must be less than 1, not 1. 0.999 averages over about", 14),
    ("ema: 0.99", "'ema' is no key of training. Did you mean ema_decay?", 3),
    ("checkpoint: {keep_last: 1}", "training.checkpoint.keep_last must be at least 2, not 1. A second checkpoint", 27),
    ("checkpoint: {every_epoch: 1}", "'every_epoch' is no key of training.checkpoint. Did you mean every_epochs?", 16),
    ("early_stopping: true", "training.early_stopping must be a mapping with keys such as enabled, monitor, mode", 19),
    ("early_stopping: {mode: maximum}", "must be one of min, max, not 'maximum'. Did you mean max", 26),
    ("early_stopping: {monitor: 5}", 'training.early_stopping.monitor must be text, not 5. Quote it: "5"', 29),
    ("early_stopping: {monitor: ''}", "training.early_stopping.monitor must be some text", 29),
    ("max_time: soon", "must be seconds or a duration such as 30m or 1h30m, not 'soon'", 13),
    ("grace_seconds: 0", "training.grace_seconds must be greater than 0", 18),
    ("non_finite: stopp", "must be one of stop, skip, not 'stopp'. Did you mean stop?", 15),
    ("num_workers: -1", "training.num_workers must be at least 0, not -1", 16),
]


@pytest.mark.parametrize(("line", "says", "column"), TRAINING_FAULTS, ids=[fault[0] for fault in TRAINING_FAULTS])
def test_a_fault_of_training_is_told_in_words_at_its_place(line: str, says: str, column: int, workspace: Path) -> None:
    limit = "" if line.startswith("max_") and not line.startswith("max_time") else "  max_epochs: 3\n"
    problem = only(f"{HEAD}training:\n{limit}  {line}\n", workspace)
    assert says in str(problem)
    assert (problem.file, problem.line, problem.column) == ("c.yaml", 4 + bool(limit), column)
    assert problem.exit_code == 2


RUN_FAULTS: list[tuple[str, str, tuple[int, int]]] = [
    (GOOD + "seed: ten", "seed must be a whole number, not 'ten'", (4, 7)),
    (GOOD + "seed: -1", "seed must be at least 0, not -1", (4, 7)),
    (GOOD + "seed: 4294967296", "seed must be at most 4294967295, not 4294967296", (4, 7)),
    (GOOD + "project: a/b", "project must not hold a /", (4, 10)),
    (GOOD + "family: ..", "family must not begin with a dot", (4, 9)),
    (GOOD + "experiment: ''", "experiment must not be empty", (4, 13)),
    (GOOD + "experiment: 'a '", "experiment must not begin or end with a space", (4, 13)),
    (GOOD + 'project: "a\\u202eb"', "project must not hold U+202E, which changes the direction of text", (4, 10)),
    (GOOD + 'experiment: "a\\tb"', "experiment must not hold control characters", (4, 13)),
    (GOOD + f"experiment: {'x' * 101}", "at most 100 characters long, and is 101", (4, 13)),
    (GOOD + "experiment: 7", 'experiment must be text, not 7. Quote it: "7"', (4, 13)),
    (GOOD + "experiment: 007", 'experiment must be text, not 7. Quote it: "007"', (4, 13)),
    (GOOD + "experiment: True", 'experiment must be text, not true. Quote it: "True"', (4, 13)),
    (
        GOOD + "launch: {device: cuda:0, processes: 2}",
        "launch.device: cuda:0 names one device, but several processes take one each. Write device: cuda",
        (4, 18),
    ),
    (GOOD + "launch: {distributed: true, device: cuda:1}", "names one device, but several processes", (4, 37)),
    (
        GOOD.replace('Net"}', 'Net", loss: mse}'),
        "'loss' is no key of model. Write loss: at the top level, beside",
        (1, 28),
    ),
    (GOOD + "launch: {device: gpu}", "must be auto, cpu, cuda, cuda:N or mps, not 'gpu'. Did you mean cuda?", (4, 18)),
    (GOOD + "launch: {processes: 0}", "launch.processes must be at least 1, not 0", (4, 21)),
    (GOOD + "launch: {distributed: true, processes: 2}", "Remove one of the two", (4, 40)),
    (
        GOOD.replace("max_epochs: 3", "max_epochs: 3, oom: halve") + "launch: {processes: 2}",
        "training.oom: halve works in one process: one that runs out of memory leaves the others waiting",
        (3, 32),
    ),
    (GOOD + "loss: cross_entrpy", "loss 'cross_entrpy' is not known. Did you mean cross_entropy?", (4, 7)),
    (GOOD + "optimizer: sgd", "'optimizer' is no key of a config. Did you mean training.optimizer?", (4, 1)),
    (GOOD + "lr: 1", "'lr' is no key of a config. Did you mean training.learning_rate?", (4, 1)),
    (HEAD, "training is missing. Add training: with max_epochs: 10", (1, 1)),
    (HEAD + "trainin: {max_epochs: 3}", "'trainin' is no key of a config. Did you mean training?", (3, 1)),
    (HEAD + "training: {}", "training.max_epochs or max_steps is required", (3, 1)),
    (HEAD + "training:", "training must be a mapping with keys such as max_epochs", (3, 10)),
    (GOOD.replace('{target: "mod:Net"}', '"mod:Net"'), "Write model: {target: mod:Net}", (1, 8)),
    (GOOD.replace('{target: "mod:Net"}', "{}"), "model.target is missing. Add target: module:Name", (1, 1)),
    (GOOD.replace("mod:Net", "mod"), "model.target must be module:Name or path/to/file.py:Name, not 'mod'", (1, 17)),
    (GOOD.replace('target: "mod:load"', ""), "data needs a target, or train", (2, 1)),
    (
        GOOD.replace('target: "mod:load"', "params: {a: 1}, train: x.npz"),
        "'a' is no parameter of a data file",
        (2, 16),
    ),
    (GOOD.replace("}\ntraining", ", val: x}\ntraining"), "data.val cannot stand beside data.target", (2, 33)),
]


@pytest.mark.parametrize(("text", "says", "place"), RUN_FAULTS, ids=[fault[1][:40] for fault in RUN_FAULTS])
def test_a_fault_of_a_run_is_told_in_words_at_its_place(
    text: str, says: str, place: tuple[int, int], workspace: Path
) -> None:
    (workspace / "x.npz").touch()
    problem = only(text, workspace)
    assert says in str(problem)
    assert (problem.line, problem.column) == place
    assert problem.exit_code == 2


REFERENCE_FAULTS: list[tuple[str, str, tuple[int, int]]] = [
    (GOOD.replace("mod:Net", "mod:Nett"), "mod.py has no 'Nett'. Did you mean mod:Net?", (1, 17)),
    (GOOD.replace("mod:Net", "mode:Net"), "there is no module 'mode'. Did you mean mod?", (1, 17)),
    (GOOD.replace("mod:load", "mod.py:lod"), "mod.py has no 'lod'. Did you mean mod.py:load?", (2, 16)),
    (GOOD.replace("mod:load", "mo.py:load"), "there is no file mo.py. Did you mean mod.py?", (2, 16)),
    (GOOD + "loss: mod:los", "mod.py has no 'los'. Did you mean mod:loss?", (4, 7)),
    (GOOD.replace("3}", "3, optimizer: 'mod:opt'}"), "mod.py has no 'opt'", (3, 38)),
    (GOOD.replace("3}", "3, lr_scheduler: {name: mod:f}}"), "mod.py has no 'f'", (3, 48)),
    (GOOD.replace('target: "mod:load"', "train: data/x.npz"), "there is no file 'data/x.npz'", (2, 15)),
    (GOOD.replace('target: "mod:load"', "train: ./mod.py"), "'./mod.py' is no data file. Use a file", (2, 15)),
    (GOOD.replace('target: "mod:load"', "train: ./xx.npz"), "Did you mean x.npz?", (2, 15)),
]


@pytest.mark.parametrize(("text", "says", "place"), REFERENCE_FAULTS, ids=[fault[1][:40] for fault in REFERENCE_FAULTS])
def test_a_name_that_leads_nowhere_cannot_be_used(
    text: str, says: str, place: tuple[int, int], workspace: Path
) -> None:
    (workspace / "x.npz").touch()
    problem = only(text, workspace)
    assert says in str(problem)
    assert (problem.line, problem.column) == place
    assert problem.exit_code == 3
    with pytest.raises(UnusableError):
        resolve(parse(text, "c.yaml"), workspace=workspace)


def test_an_unknown_dataset_is_a_wrong_text(workspace: Path) -> None:
    problem = only(GOOD.replace('target: "mod:load"', "train: digits-train"), workspace)
    assert problem.exit_code == 2
    assert (problem.line, problem.column) == (2, 15)


def test_all_problems_are_listed_in_the_order_of_the_file(workspace: Path) -> None:
    found = check("modle: 1\nseed: x\ndata: {target: 'mod:lod'}\ntraining: {max_epoch: 1, batch_size: 0}\n", workspace)
    assert [(problem.line, problem.message.split()[0]) for problem in found] == [
        (1, "'modle'"),
        (2, "seed"),
        (3, "mod.py"),
        (4, "'max_epoch'"),
        (4, "training.batch_size"),
    ]


def test_the_first_wrong_text_is_raised_before_what_it_names(workspace: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(parse(GOOD.replace("Net", "Nett") + "seed: x", "c.yaml"), workspace=workspace)
    assert caught.value.location == "c.yaml:4:7"


def test_early_stopping_needs_something_to_watch(workspace: Path) -> None:
    (workspace / "x.npz").touch()
    text = "model: {target: 'mod:Net'}\ndata: {train: ./x.npz}\ntraining:\n  max_epochs: 1\n"
    problem = only(text + "  early_stopping: {enabled: true}\n", workspace)
    assert str(problem).startswith("c.yaml:5:19: training.early_stopping waits for val/loss, but data has no val")
    assert check(text + "  early_stopping: {enabled: true, monitor: train/loss}\n", workspace) == []


def test_a_file_whose_name_cannot_name_an_experiment_says_so(workspace: Path) -> None:
    found = problems(parse(GOOD, f"{'x' * 120}.yaml"), workspace=workspace)
    assert "Write experiment: with a name" in str(found[0])
    assert problems(parse(GOOD + "experiment: a", f"{'x' * 120}.yaml"), workspace=workspace) == []


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "text", "", [], [1], {}, {"name": 3}, {"a": {"b": []}}])
def test_no_value_anywhere_makes_the_check_itself_fail(value: Any, workspace: Path) -> None:
    whole = parse(GOOD, "c.yaml").data
    paths: list[tuple[str, ...]] = [(key.name,) for key in schema_keys()]
    paths += [(key, below.name) for key in whole for below in schema_keys((key,))] + [("launch", "device")]
    paths += [("training", key, below.name) for key in ("checkpoint", "early_stopping") for below in
              schema_keys(("training", key))]  # fmt: skip
    for path in paths:
        data = parse(GOOD, "c.yaml").data
        holder = data
        for part in path[:-1]:
            holder = holder.setdefault(part, {})
        holder[path[-1]] = value
        found = problems(Document(data, "c.yaml"), workspace=workspace)
        assert all(str(problem) for problem in found)
        if not found:
            assert RunConfig.model_validate({"experiment": "e", **{k: v for k, v in data.items() if v is not None}})


def test_checking_is_fast_enough_to_do_at_every_key(workspace: Path) -> None:
    text = GOOD.replace("{max_epochs: 3}", "\n" + "".join(
        f"  {key.name}: {key.default}\n" for key in schema_keys(("training",)) if not key.section
    ).replace("max_epochs: null", "max_epochs: 3"))  # fmt: skip
    settings = load_settings(workspace, {})
    times = []
    for _ in range(20):
        started = time.perf_counter()
        assert problems(parse(text, "c.yaml"), workspace=workspace, settings=settings) == []
        times.append(time.perf_counter() - started)
    assert sorted(times)[10] < 0.010
