"""The numbers of training at its log points: the only place where the loop reads from the device."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch

from kladml_core.runs.files import number, to_jsonable
from kladml_core.training.means import Means
from kladml_core.training.outputs import LOSS
from kladml_core.training.ranks import Ranks
from kladml_core.training.run_writer import RunWriter


class Recording:
    """Means of what the steps gave since the last log point.

    `train/loss` and the model's own values are means over all samples (or weights) since then; the learning rate and
    the gradient norm are those of the last step; `train/samples_per_second` counts all ranks and leaves validation
    and checkpoints out, and so does `train/tokens_per_second`, which is there where the model gives weights to its
    losses. `train/data_wait` is the share of this rank's time in which training waited for its data, from 0 to 1.
    """

    def __init__(self, writer: RunWriter, ranks: Ranks, device: torch.device) -> None:
        self._writer = writer
        self._ranks = ranks
        self.means = Means(device)
        self.last: dict[str, float] = {}
        """The newest value of each metric of this attempt."""
        self._samples = 0
        self._carried = False
        self._told: set[str] = set()
        self._from = time.perf_counter()

    def seen(self, samples: int) -> None:
        """Counts the samples of a step, over all ranks."""
        self._samples += samples

    def log(
        self, step: int, *, rate: float, norm: Any, waited: float = 0.0, weighted: bool = False, skipped: int = 0
    ) -> dict[str, float]:
        """Reads the means back, writes them and begins anew; every rank must call it.

        Args:
            norm: of the last step's gradients.
            waited: seconds since the last log point in which this rank waited for data.
            weighted: whether the model gives its losses weights, which are then counted as tokens.
            skipped: updates left out in the whole run.
        """
        found = self.means.read_weighted(self._ranks)
        values = {f"train/{name}": mean for name, (mean, _) in found.items()}
        now = time.perf_counter()
        seconds = max(now - self._from, 1e-9)
        values["train/learning_rate"] = rate
        values["train/gradient_norm"] = float(norm)
        values["train/samples_per_second"] = self._samples / seconds
        if weighted and not self._carried:
            values["train/tokens_per_second"] = found[LOSS][1] / seconds
        values["train/data_wait"] = min(1.0, waited / seconds)
        if skipped:
            values["train/skipped_steps"] = float(skipped)
        self.means.clear()
        self._samples = 0
        self._carried = False
        self._from = now
        self.write(values, step)
        return values

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Writes metrics of any kind."""
        self.last.update(values)
        self._writer.log_metrics(values, step)

    def validated(self, values: Mapping[str, float], step: int, epoch: int) -> None:
        """Writes a validation's metrics, and says once of each that it is no finite number: training goes on."""
        self.write(values, step)
        for name, value in values.items():
            if not math.isfinite(value) and name not in self._told:
                self._told.add(name)
                message = "in a validation, which changes no weights: training goes on"
                self._writer.event("non_finite", step=step, epoch=epoch, metric=name, message=message)

    def paused(self, since: float) -> None:
        """Takes the time since `since` (time.perf_counter) out of the samples per second."""
        self._from += time.perf_counter() - since

    def state_dict(self) -> dict[str, Any]:
        """This rank's sums, so that the next log point after a resume has the same mean."""
        return {"means": self.means.state_dict(), "last": to_jsonable(self.last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.means.load_state_dict(state["means"])
        self._carried = bool(state["means"])  # its tokens were seen in time that is not counted here
        self.last = {str(name): number(value) for name, value in state["last"].items()}
