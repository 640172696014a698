"""What a model is for; decides which metrics are natural to it."""

from __future__ import annotations

from enum import StrEnum


class MLTask(StrEnum):
    """The kinds of task a model can declare as its `ml_task`."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    TIMESERIES_FORECASTING = "timeseries_forecasting"
    TIMESERIES_CLASSIFICATION = "timeseries_classification"
    ANOMALY_DETECTION = "anomaly_detection"
    CLUSTERING = "clustering"
    LANGUAGE_MODELING = "language_modeling"
    GENERATION = "generation"
    OTHER = "other"
