"""A character-level GPT that learns Python from its own standard library. Copy this file to start one of your own."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core import MLTask, TorchModel

# The alphabet is fixed and not taken from the text, so that a saved model reads the text of any Python version.
ALPHABET = "\n" + "".join(chr(code) for code in range(32, 127))
UNKNOWN = len(ALPHABET)
VOCABULARY = len(ALPHABET) + 1


class TinyGPT(TorchModel):
    """A causal transformer over characters.

    `model.params` of the config arrive as `self.config`: layers, heads, width, context (characters it can look back on)
    and dropout.
    """

    ml_task = MLTask.LANGUAGE_MODELING

    def build(self) -> nn.Module:
        """The network; called once, after the run's seed is set."""
        return _Transformer(
            layers=self.config.get("layers", 3),
            heads=self.config.get("heads", 4),
            width=self.config.get("width", 128),
            context=self.config.get("context", 128),
            dropout=self.config.get("dropout", 0.0),
        )

    def training_step(self, module: nn.Module, batch: tuple[Tensor]) -> tuple[Tensor, int]:
        """(loss, weight): the loss is a mean over characters and not over windows, so it says over how many."""
        (window,) = batch
        inputs, targets = window[:, :-1], window[:, 1:]
        logits = module(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return loss, targets.numel()

    def validation_step(self, module: nn.Module, batch: tuple[Tensor]) -> dict[str, Any]:
        """Means with their weights: val/loss is exact over all characters of the split, however they are batched."""
        (window,) = batch
        inputs, targets = window[:, :-1], window[:, 1:]
        logits = module(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        right = (logits.argmax(dim=-1) == targets).float().mean()
        return {"loss": (loss, targets.numel()), "accuracy": (right, targets.numel())}


def load(characters: int = 400_000, context: int = 128) -> dict[str, Any]:
    """The text cut into windows, int64 [n, context + 1]; the last tenth of it is for validation.

    The windows are a view into the one long tensor: nothing is copied until a batch is indexed.
    """
    text = library_text(characters)
    table = {character: code for code, character in enumerate(ALPHABET)}
    tokens = torch.tensor([table.get(character, UNKNOWN) for character in text])
    border = len(tokens) * 9 // 10
    train, val = tokens[:border], tokens[border:]
    # Windows share one character: the last target of one is the first input of the next.
    return {"train": (train.unfold(0, context + 1, context),), "val": (val.unfold(0, context + 1, context),)}


def library_text(characters: int) -> str:
    """The first so many characters of the standard library's modules in the order of their names."""
    parts: list[str] = []
    length = 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"), key=lambda path: path.name):
        if length >= characters:
            break
        parts.append(path.read_text(encoding="utf-8", errors="replace"))
        length += len(parts[-1])
    return "".join(parts)[:characters]


class _Transformer(nn.Module):
    def __init__(self, *, layers: int, heads: int, width: int, context: int, dropout: float) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        # What reads a character and what writes it are one matrix: fewer weights, and they learn from both sides.
        self.head.weight = self.token.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [batch, time] to logits [batch, time, vocabulary]."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        hidden = self.token(tokens) + self.position(places)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        batch, time, width = hidden.shape
        split = self.attention_in(self.attention_norm(hidden)).view(batch, time, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, dropout_p=self.dropout if self.training else 0.0
        )
        hidden = hidden + self.attention_out(mixed.transpose(1, 2).reshape(batch, time, width))
        return hidden + self.feed(self.feed_norm(hidden))
