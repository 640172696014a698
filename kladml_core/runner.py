"""ExperimentRunner: trains in this process, a script's or a notebook's, and leaves the run that a terminal would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kladml_core.errors import UnusableError
from kladml_core.interfaces import ConfigInterface, PublisherInterface, StorageInterface, TrackerInterface

if TYPE_CHECKING:
    from kladml_core.data.datamodule import DataModule
    from kladml_core.inprocess.attempt import Attempt
    from kladml_core.inprocess.plan import Plan
    from kladml_core.inprocess.surroundings import Surroundings
    from kladml_core.models.base import BaseModel
    from kladml_core.training.callbacks import Callback
    from kladml_core.training.result import FitResult
    from kladml_core.training.signals import StopSignals


@dataclass(frozen=True)
class RunResult:
    """A run that has ended."""

    reference: str
    """project/family/experiment/run_0001, as every command takes it."""
    path: Path
    """The run directory."""
    status: str
    """finished or stopped; a run that fails raises instead."""
    reason: str
    """max_epochs, max_steps, early_stopping, max_time, stop requested, or the signal's name."""
    step: int
    epoch: int
    metrics: Mapping[str, float]
    """The last value of each metric, `test/…` among them where there is test data."""
    best: Mapping[str, Any] | None
    """metric, value, step and checkpoint of the best validation."""
    resumable: bool
    model: BaseModel
    """The model with the weights of the last step."""
    _make: Callable[[], BaseModel] = field(repr=False)

    def load_best(self) -> BaseModel:
        """A new model with what was best, read from artifacts/best_model.

        Raises:
            UnusableError: the run was stopped before it was written.
        """
        return _load(self._make, self.path)


class ExperimentRunner:
    """Runs experiments in this process.

    Args:
        storage: takes a copy of every run's artifacts, and with `storage.upload.checkpoints` of its checkpoints, as
            they are committed, in a thread; without one kladml.yaml's does, in the background.
        config: settings by dotted key (`launch.device`, `storage.bucket`, …) that win over kladml.yaml.
        tracker: gets the run, its config, metrics, tags and files, in a thread of its own, and has all of it when `run`
            returns; without one kladml.yaml's gets them, in the background.
        publisher: gets the messages of channels `metrics`, `events` and `status`, in another thread; without one
            kladml.yaml's `publisher.backend` decides: console (the default), none, or module:Class.
    """

    def __init__(
        self,
        storage: StorageInterface | None = None,
        config: ConfigInterface | None = None,
        tracker: TrackerInterface | None = None,
        publisher: PublisherInterface | None = None,
    ) -> None:
        self._storage = storage
        self._config = config
        self._tracker = tracker
        self._publisher = publisher

    def run(
        self,
        model_class: Any,
        train_data: Any,
        val_data: Any = None,
        *,
        test_data: Any = None,
        experiment_name: str = "default",
        model_config: Mapping[str, Any] | None = None,
        training_config: Any = None,
        loss: Any = None,
        project: str = "default",
        family: str = "default",
        seed: int = 0,
        device: str | None = None,
        callbacks: Sequence[Callback] = (),
        resume: str | None = None,
    ) -> RunResult:
        """Trains a model, as `kladml-tui --run` does with a config file, and waits for its end.

        1. finds the workspace (the nearest kladml.yaml from the current directory upwards), loads its kladml.yaml and
           checks the arguments; outside of any workspace, makes the current directory one;
        2. makes the run's directory, and a run in the tracker: the one given, in a thread, with the name of the
           experiment as it is given here; else kladml.yaml's, by the background process that feeds it from the
           run's directory;
        3. builds the data and the model, all random numbers seeded;
        4. trains it: the UniversalTrainer for a TorchModel or an nn.Module, a BaseModel by its own `train`;
        5. evaluates the best model on the test data, where there is any;
        6. saves artifacts/best_model and the last state; the storage gets what was saved, and the tracker the end. A
           storage and a tracker that were given have all of it when this returns.

        The first Ctrl-C stops after the step it falls into, with a checkpoint, and returns; a second one raises
        KeyboardInterrupt. SIGTERM and SIGHUP do the same and then reach whoever handled them before. Off the main
        thread no signal is listened to; `kladml-tui stop RUN` works everywhere.

        Args:
            model_class: a subclass of TorchModel, BaseModel or nn.Module, a function that makes a model, or the
                `module:Name` of one of them.
            train_data: (X, y) of tensors, arrays or tables, a Dataset, a DataLoader, a DataModule, a dict of splits,
                the name of a registered dataset or a file's path, or the `module:function` that loads all splits.
            val_data, test_data: the same kinds, or None.
            experiment_name: files the run under `project/family/experiment_name`.
            model_config: the model's parameters.
            training_config: keys of TrainingConfig, or one; ten epochs without it.
            loss: for an nn.Module: a name such as cross_entropy, a function, or its `module:name`.
            device: auto, cpu, mps, cuda or cuda:N; kladml.yaml's `launch.device` without it.
            resume: a run's reference, or an unambiguous end of one, that was started with these arguments.

        Raises:
            KladMLError: with what is wrong and what to do; what the model's own code raises passes through. The run
                directory, if there is one by then, says `failed` and why.
        """
        from kladml_core.backends.choose import make_publisher
        from kladml_core.inprocess.attempt import claim, listening
        from kladml_core.inprocess.plan import Arguments, make_plan
        from kladml_core.inprocess.surroundings import look_around
        from kladml_core.runs import uploads
        from kladml_core.runs.notices import listen
        from kladml_core.tracking.outbox import enlist, refusal
        from kladml_core.workspace.init import init_workspace

        around = look_around(self._config, must_exist=resume is not None)
        root, settings = around.root, around.settings
        given = Arguments(
            model=model_class,
            model_config=model_config or {},
            loss=loss,
            train=train_data,
            val=val_data,
            test=test_data,
            project=project,
            family=family,
            experiment=experiment_name,
            seed=seed,
            training=training_config,
            device=device or settings.launch.device,
        )
        plan = make_plan(given, root, settings)
        publisher = self._publisher or make_publisher(settings)
        tracker = self._tracker or around.own_tracker()
        storage = self._storage or around.own_storage()
        refused = refusal(around.written) if tracker is None else None
        if refused is not None:
            plan = replace(plan, warnings=(*plan.warnings, refused))
        if not around.is_workspace:
            init_workspace(root)
            plan = replace(plan, warnings=(f"{root} is a workspace from now on: it has a kladml.yaml", *plan.warnings))
        attempt = claim(plan, settings.data, resume)
        listen(attempt.run, attempt.number, root)
        if tracker is None:
            enlist(attempt.run, attempt.number, root)
        if storage is None:
            uploads.enlist(attempt.run, attempt.number, root)
        with listening(plan.config.training.grace_seconds) as signals:
            return self._attempt(plan, attempt, storage, publisher, tracker, signals, around, callbacks)

    def load_best(self, reference: str) -> BaseModel:
        """The best model of any run of this workspace, made as its config says.

        Raises:
            UnusableError: no such run, no best model in it, or its model's class cannot be imported.
        """
        from kladml_core.config.load import read
        from kladml_core.inprocess.plan import make_recorded
        from kladml_core.inprocess.surroundings import look_around
        from kladml_core.runs.ref import find_run

        settings = look_around(self._config, must_exist=True).settings
        run = find_run(settings.data, reference)
        return _load(lambda: make_recorded(read(run.config).data, settings.root), run.path)

    def _attempt(
        self,
        plan: Plan,
        attempt: Attempt,
        storage: StorageInterface | None,
        publisher: PublisherInterface | None,
        tracker: TrackerInterface | None,
        signals: StopSignals,
        around: Surroundings,
        callbacks: Sequence[Callback],
    ) -> RunResult:
        from kladml_core.backends.run_log import RunLog
        from kladml_core.inprocess.attempt import Ending, tell_changes
        from kladml_core.inprocess.audience import Audience
        from kladml_core.inprocess.feed import Feed
        from kladml_core.inprocess.storage_feed import StorageFeed
        from kladml_core.inprocess.tracker_feed import TrackerFeed
        from kladml_core.inprocess.train import train
        from kladml_core.training import control

        run = attempt.run
        log = RunLog(run, attempt.number)
        ending = Ending(log)
        signals.on_second(ending.at_once)
        audience = Audience(run, attempt.number, attempt.created, ending.warn)
        if publisher is not None:
            audience.add(publisher, "the publisher")
        feeds: list[Feed] = []
        try:
            if tracker is not None:
                feeds.append(TrackerFeed(tracker, run, attempt.number, around, ending))
            if storage is not None:
                feeds.append(StorageFeed(storage, run, around, ending))
            for feed in feeds:
                feed.start()
            control.remove_stale(run.control, attempt.number)
            tell_changes(attempt, log)
            for warning in attempt.warnings:
                ending.warn(warning)
            model, fit, data = train(plan, attempt, log, signals, callbacks)
            result = self._result(plan, attempt, model, fit)
            if fit.status == "finished":
                tested = _test(plan, result, data)
                log.log_metrics(tested, fit.step)
                result = RunResult(**{**vars(result), "metrics": {**result.metrics, **tested}})
        except BaseException as error:  # whatever ends it, Ctrl-C too: the run must not stay "running"
            ending.badly(error)
            raise
        else:
            ending.well(fit)
            return result
        finally:
            audience.close()
            for feed in feeds:
                feed.close()

    def _result(self, plan: Plan, attempt: Attempt, model: BaseModel, fit: FitResult) -> RunResult:
        return RunResult(
            reference=attempt.run.reference,
            path=attempt.run.path,
            status=fit.status,
            reason=fit.reason,
            step=fit.step,
            epoch=fit.epoch,
            metrics=dict(fit.metrics),
            best=fit.best,
            resumable=fit.resumable,
            model=model,
            _make=plan.make_model,
        )


def given_data(**described: str) -> NoReturn:
    """Stands in the config of a run whose data was given in memory, described split by split.

    Raises:
        UnusableError: always: only the program that had the data can give it again.
    """
    raise UnusableError(
        "this run's data was given in memory by the program that started it",
        hint="resume it there: ExperimentRunner().run(…, resume='run_0001')",
    )


def _test(plan: Plan, result: RunResult, data: DataModule) -> dict[str, float]:
    from kladml_core.inprocess.train import evaluate

    if data.test is None:
        return {}
    return {f"test/{name}": value for name, value in evaluate(plan, result.load_best(), data.test).items()}


def _load(make: Callable[[], BaseModel], path: Path) -> BaseModel:
    from kladml_core.training.artifacts import BEST_MODEL

    folder = path / "artifacts" / BEST_MODEL
    if not folder.is_dir():
        raise UnusableError(f"{path} has no best model", hint="a run writes it when it finishes")
    model = make()
    loaded = model.load(folder)
    # Some return the model instead of filling the one that was asked.
    return loaded if isinstance(loaded, type(model)) else model
