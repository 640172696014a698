"""Cuts a time series into pairs of a window of the past and the steps that followed it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kladml_core.data.datamodule import as_tensor
from kladml_core.errors import UnusableError


def windows(series: Any, window: int, horizon: int = 1, *, stride: int = 1) -> tuple[Tensor, Tensor]:
    """All windows of a series with what followed each; both are views, so that nothing is copied.

    To judge a forecaster, cut the *series* into a training part and a later validation part first, and each of them
    into windows: windows that overlap across the two would let it see what it is asked for.

    Args:
        series: tensor or array, [time] or [time, features], oldest first.
        window: steps of the past in each pair.
        horizon: steps that are to be forecast.
        stride: steps from one window to the next.

    Returns:
        x [n, window] or [n, window, features], and y [n, horizon] or [n, horizon, features].

    Raises:
        UnusableError: the series is shorter than one window with its horizon, or a number is below 1.
    """
    if min(window, horizon, stride) < 1:
        raise UnusableError(f"window {window}, horizon {horizon} and stride {stride} must be at least 1")
    values = as_tensor(series, "series")
    length = window + horizon
    if len(values) < length:
        raise UnusableError(
            f"a series of {len(values)} steps has no window of {window} and {horizon} steps after it",
            hint="shorten the window, or give more of the series",
        )
    pairs = values.unfold(0, length, stride).movedim(-1, 1)
    return pairs[:, :window], pairs[:, window:]
