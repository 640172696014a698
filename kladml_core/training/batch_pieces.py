"""Cuts a batch of any structure into smaller ones by its samples, or says why it cannot be cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

_UNDIVIDED = (str, bytes, int, float, bool, type(None))


class Uncuttable(Exception):
    """The batch holds something of which nobody knows what belongs to which sample; the message says what."""


def piece_sizes(size: int, most: int) -> tuple[int, ...]:
    """As few pieces of `size` samples as have at most `most` each (0: no limit), as equal as they can be."""
    count = -(-size // most) if most else 1
    least, longer = divmod(size, count)
    return (least + 1,) * longer + (least,) * (count - longer)


def cut(batch: Any, sizes: Sequence[int]) -> Iterator[Any]:
    """The pieces of a batch, one after the other; views, no copies.

    Tensors are cut along their first dimension, which must be the samples', in tuples, lists and mappings of any
    depth; a list with an item for each sample is cut as well. Numbers, texts and tensors without a dimension go into
    every piece.

    Args:
        sizes: samples of each piece, together the batch's.

    Raises:
        Uncuttable: see there; before the first piece is given.
    """
    if len(sizes) == 1:
        return iter((batch,))
    take = _cutter(batch, sum(sizes))
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    return (take(slice(end - size, end)) for size, end in zip(sizes, ends, strict=True))


def _cutter(value: Any, size: int) -> Callable[[slice], Any]:
    """A function that gives the part of `value` that belongs to a slice of its `size` samples."""
    if isinstance(value, Tensor):
        if value.ndim == 0:
            return lambda _: value
        if value.shape[0] != size:
            raise Uncuttable(f"a tensor of the shape {list(value.shape)} among {size} samples")
        return lambda part: value[part]
    if isinstance(value, _UNDIVIDED):
        return lambda _: value
    if isinstance(value, Mapping):
        return _mapping_cutter(value, {key: _cutter(item, size) for key, item in value.items()})
    if not isinstance(value, tuple | list):
        raise Uncuttable(f"an object of the class {type(value).__name__}")
    if isinstance(value, list) and len(value) == size and not _is_structure(value, size):
        return lambda part: value[part]
    cutters = [_cutter(item, size) for item in value]
    if hasattr(value, "_fields"):
        return lambda part: type(value)(*(take(part) for take in cutters))
    kind = tuple if isinstance(value, tuple) else list
    return lambda part: kind(take(part) for take in cutters)


def _mapping_cutter(value: Mapping[Any, Any], cutters: Mapping[Any, Callable[[slice], Any]]) -> Callable[[slice], Any]:
    def take(part: slice) -> Any:
        found = {key: cutter(part) for key, cutter in cutters.items()}
        return found if isinstance(value, dict) else type(value)(found)  # type: ignore[call-arg]

    return take


def _is_structure(items: list[Any], size: int) -> bool:
    """Whether a list as long as the batch holds whole inputs, as [x, y] with two samples, and not one item a sample."""
    if not any(isinstance(item, Tensor | tuple | list | Mapping) for item in items):
        return False
    if not all(isinstance(item, Tensor) and item.ndim and item.shape[0] == size for item in items):
        return False
    if size > 2:
        raise Uncuttable(f"a list of {size} tensors of {size} rows each among {size} samples")
    return True
