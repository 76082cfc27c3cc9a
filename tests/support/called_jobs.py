"""The jobs' functions, called with settings by keyword beside places; what is not allowed is told as their commands tell it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from schemas.batch_jobs import RecommendSettings, SegmentSettings
from schemas.data_settings import SessionizeSettings, ValidateSettings
from schemas.settings import Settings
from schemas.solutions import TrainSettings


def _called(job: str, model: type[Settings]) -> Callable[..., dict[str, Any]]:
    def call(**given: Any) -> dict[str, Any]:
        function = getattr(importlib.import_module(f"jobs.{job}.job"), job)
        settings = {name: given.pop(name) for name in list(given) if name in model.model_fields}
        answer: dict[str, Any] = function(settings=model.read(settings), **given)
        return answer

    return call


recommend = _called("recommend", RecommendSettings)
segment = _called("segment", SegmentSettings)
sessionize = _called("sessionize", SessionizeSettings)
train = _called("train", TrainSettings)
validate = _called("validate", ValidateSettings)
