"""The contents of params.yaml as typed, frozen and strictly checked objects."""

from pipeline.params.data import CollectParams, DatasetParams, IngestParams
from pipeline.params.deployment import (
    EvaluateParams,
    ExecutionParams,
    ExportParams,
    FailureParams,
    ReleaseParams,
)
from pipeline.params.file import Params, load_params
from pipeline.params.learning import PolicyParams, TrainParams
from pipeline.params.section import ParamsError, Section
from pipeline.params.task import Box, RobotParams, StateField, TaskParams

__all__ = [
    "Box", "CollectParams", "DatasetParams", "EvaluateParams", "ExecutionParams", "ExportParams",
    "FailureParams",
    "IngestParams", "Params", "ParamsError", "PolicyParams", "ReleaseParams", "RobotParams",
    "Section", "StateField", "TaskParams", "TrainParams", "load_params",
]  # fmt: skip
