"""What a run leaves behind for use: artifacts/best_model, written through the model's own save()."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import nn

from kladml_core.errors import UnusableError
from kladml_core.models.torch_model import TorchModel
from kladml_core.training.saving import Saving
from kladml_core.training.sharding import is_sharded

BEST_MODEL = "best_model"


def save_best(model: TorchModel, module: nn.Module, saving: Saving, artifacts: Path) -> None:
    """Writes the best checkpoint's weights, or those of now where none was ranked; averaged ones where they are kept.

    The module keeps its own of now.

    Raises:
        UnusableError: the folder cannot be written; an earlier one is untouched.
    """
    best = saving.best_weights()
    kept = None
    if is_sharded(module):
        # The pieces of the other processes are not here; every end has left a checkpoint, in which they are.
        model = model.with_module(model.build())
        model.module.load_state_dict(best if best is not None else saving.last_weights())
    elif best is not None:
        now = module.state_dict().items()
        kept = {name: value.detach().clone() if torch.is_tensor(value) else value for name, value in now}
        module.load_state_dict(best)
    target, temporary = artifacts / BEST_MODEL, artifacts / f".{BEST_MODEL}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        model.save(temporary)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except OSError as error:
        raise UnusableError(
            f"the best model cannot be written to {target}: {error}",
            hint="its checkpoint is untouched; free some space and resume",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if kept is not None:
            module.load_state_dict(kept)
