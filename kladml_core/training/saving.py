"""When a run is saved: gathers what a checkpoint holds from all ranks, writes it on rank 0, then retires old ones.

With `checkpoint.background` the write happens on a thread, one at a time: the step waits for the copy into host
memory and, where the write before it has not ended yet, for that one.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from kladml_core.config.schema import TrainingConfig
from kladml_core.errors import CheckpointWriteError
from kladml_core.runs.pins import read_pins
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training import checkpoints
from kladml_core.training.averaging import Averages
from kladml_core.training.progress import Progress
from kladml_core.training.ranks import Ranks
from kladml_core.training.run_writer import RunWriter


@dataclass
class _Write:
    """A checkpoint on its way to the disk, or its outcome; on every rank, though rank 0 alone writes."""

    name: str
    thread: threading.Thread | None = None
    failure: CheckpointWriteError | None = None
    broken: BaseException | None = None
    """What no write should raise."""


class Saving:
    """Writes the checkpoints of one attempt.

    Args:
        directory: the run's checkpoints; None for a run without a directory, which saves nothing.
        module: unwrapped.
        optimizer: the bare torch optimizer.
        scaler: the fp16 gradient scaler, or None.
        config_hash: recorded in every manifest.
        averages: of the weights, or None where none are kept.
    """

    def __init__(
        self,
        directory: Path | None,
        module: nn.Module,
        optimizer: Optimizer,
        scaler: Any,
        ranks: Ranks,
        writer: RunWriter,
        config: TrainingConfig,
        *,
        config_hash: str = "",
        averages: Averages | None = None,
    ) -> None:
        self._directory = directory
        self._module, self._optimizer, self._scaler = module, optimizer, scaler
        self._averages = averages
        self._ranks = ranks
        self._writer = writer
        self._policy = config.checkpoint
        self._monitor, self._mode = config.early_stopping.monitor, config.early_stopping.mode
        self._config_hash = config_hash
        self._saved: dict[str, Any] | None = None
        self._under_way: _Write | None = None
        self._finished: list[str] = []
        self._rejected: set[str] = set()
        self.resumed_from: str | None = None
        """Never retired during this attempt."""
        self.last: str | None = None
        """The newest checkpoint that is known to be written in this attempt, or that it resumed from."""

    def resumed(self, name: str, progress: Progress, rejects: Collection[str] = ()) -> None:
        """Told which checkpoint this attempt goes on from, which stays; its rejects count for nothing."""
        self._rejected = set(rejects)
        self.resumed_from = self.last = name
        self._saved = progress.state_dict()

    def is_due(self, progress: Progress, *, epoch_done: bool) -> bool:
        """Whether the policy wants a checkpoint at this step."""
        epochs, steps = self._policy.every_epochs, self._policy.every_steps
        return bool((epoch_done and epochs and progress.epoch % epochs == 0) or (steps and progress.step % steps == 0))

    def save(
        self,
        progress: Progress,
        state: Mapping[str, Any],
        metrics: Mapping[str, float],
        *,
        best: bool = False,
        wait: bool = True,
    ) -> CheckpointWriteError | None:
        """Writes a checkpoint of this moment; every rank must call it.

        Args:
            state: everything of the trainer but model, optimizer and generators.
            metrics: those of a validation at this very step, by which checkpoints are ranked.
            best: whether this is the best one so far.
            wait: False lets it be written in the background, where the config says so.

        Returns:
            Why it could not be written (the same on every rank), or None; of one that is written in the background
            this is not known yet, a failure is told by an event and the next one is tried as usual.
        """
        self._settle()
        position = progress.state_dict()
        if self._directory is None or (position == self._saved and not best):
            return None
        content = self._capture()
        for generators in self._ranks.gather(content.rng)[1:]:
            content.rng.update(generators)
        content.state["trainer"] = dict(state)
        write = self._under_way = _Write(f"step-{progress.step:010d}")
        self._saved = position
        if self._ranks.is_main:
            step, epoch = progress.step, progress.number
            work = (write, content, step, epoch, dict(metrics), best)
            if wait or not self._policy.background:
                self._write(*work)
            else:
                write.thread = threading.Thread(target=self._write, args=work, name="checkpoint", daemon=True)
                write.thread.start()
        return self._settle() if wait or not self._policy.background else None

    def _capture(self) -> checkpoints.Content:
        averages = self._averages.state_dict() if self._averages is not None else None
        rank = self._ranks.rank
        return checkpoints.capture(self._module, self._optimizer, self._scaler, rank=rank, averages=averages)

    def finished(self) -> list[str]:
        """The checkpoints that have been found written since the last question, on every rank."""
        names, self._finished = self._finished, []
        return names

    def close(self) -> None:
        """Waits for a write under way, on this rank alone: for an end that the other ranks may not share."""
        if self._under_way is not None and self._under_way.thread is not None:
            self._under_way.thread.join()

    def _settle(self) -> CheckpointWriteError | None:
        """Waits for the write under way; every rank learns how it ended."""
        write = self._under_way
        if write is None:
            return None
        self.close()
        if write.broken is not None:
            raise write.broken
        self._under_way = None
        failure = self._ranks.gather(write.failure)[0]
        if failure is None:
            self.last = write.name
            self._finished.append(write.name)
        else:
            self._saved = None
        return failure

    def _write(
        self,
        write: _Write,
        content: checkpoints.Content,
        step: int,
        epoch: int,
        metrics: Mapping[str, float],
        best: bool,
    ) -> None:
        assert self._directory is not None
        try:
            info = checkpoints.save(
                self._directory,
                content,
                step=step,
                epoch=epoch,
                metrics=metrics,
                world_size=self._ranks.world_size,
                config_hash=self._config_hash,
                best=best,
            )
            self._rejected.discard(info.name)
            self._tell(info, best=best)
            self._retire()
        except CheckpointWriteError as error:
            write.failure = error
            self._writer.event("checkpoint_failed", step=step, epoch=epoch, message=str(error))
        except BaseException as error:  # on a thread nobody else would see it: the training thread raises it
            write.broken = error

    def _tell(self, info: checkpoints.CheckpointInfo, *, best: bool) -> None:
        self._writer.checkpoint({"name": info.name, "step": info.step})
        self._writer.event(
            "checkpoint_saved",
            step=info.step,
            epoch=info.epoch,
            name=info.name,
            bytes=info.bytes,
            seconds=info.seconds,
            best=best,
            last=True,
            metrics=dict(info.metrics),
        )

    def _retire(self) -> None:
        assert self._directory is not None
        pinned = read_pins(RunDirectory(self._directory.parent))
        if pinned is None:
            return  # any of them may be pinned; the next save looks again
        removed = checkpoints.retire(
            self._directory,
            keep_last=self._policy.keep_last,
            keep_best=self._policy.keep_best,
            best=self.ranked(),
            protect=pinned | {self.resumed_from} if self.resumed_from else pinned,
            rejected=self._rejected,
        )
        for name in removed:
            self._writer.event("checkpoint_removed", name=name)

    def ranked(self) -> list[str]:
        """The names of the valid checkpoints that have the monitored metric, best first, earlier ones before later."""
        if self._directory is None:
            return []
        sign = 1.0 if self._mode == "min" else -1.0
        found = [
            (sign * info.metrics[self._monitor], info.step, info.name)
            for info in checkpoints.valid(self._directory)
            if info.name not in self._rejected
            and self._monitor in info.metrics
            and info.metrics[self._monitor] == info.metrics[self._monitor]
        ]
        return [name for _, _, name in sorted(found)]

    def best_weights(self) -> dict[str, Any] | None:
        """What the module's `load_state_dict` takes to be the best: averaged weights where they are kept.

        Returns:
            The best checkpoint's that loads; where none was ranked, the averages of now, and None without averages.
        """
        for name in self.ranked():
            assert self._directory is not None
            path = self._directory / name
            if checkpoints.verify(path) is None:
                return checkpoints.load(path, verified=True).weights_for_use()
        return self._capture().weights_for_use() if self._averages is not None else None

    def last_weights(self) -> dict[str, Any]:
        """What the module's `load_state_dict` takes to be as the newest checkpoint, of a model in pieces say.

        Raises:
            UnusableError: it cannot be read.
        """
        assert self._directory is not None and self.last is not None
        return checkpoints.load(self._directory / self.last).weights_for_use()
