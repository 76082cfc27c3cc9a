"""Messages between launcher and ranks: small JSON files on the node."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import schemas.errors
from hrnn.training.settings import TrainingSettings
from schemas.errors import HrnnError, UserError, error_of

NO_SPACE = os.EX_IOERR  # exit status of a rank that found the disk full: it can't leave a word there


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """One training, as every rank of a node reads it.

    Attributes:
        identity: Fingerprint of the solution version; checkpoints carry it.
        recipe: Whose model is trained.
        arrays: Folder of the staged sequences.
        checkpoints_uri: Where checkpoints live, in the workspace.
        answers: Folder on this node for the results of the ranks: the model, the curve, errors.
        config: What the model is, by the names of hyperparameters.
        settings: How to train.
        weighted: Whether events' weights lie among the arrays.
        moments: UTC epoch seconds, rising, at which the model's parameters are kept for a ranker; none: they are not needed.
        threads: CPU threads of each rank.
    """

    identity: str
    recipe: str
    arrays: str
    checkpoints_uri: str
    answers: str
    config: dict[str, Any]
    settings: dict[str, Any]
    threads: int
    weighted: bool = False
    moments: tuple[int, ...] = ()

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> WorkerSpec:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text()))

    def training_settings(self) -> TrainingSettings:
        """The settings as the trainer takes them."""
        return TrainingSettings(**self.settings)

    @property
    def model_path(self) -> Path:
        """safetensors that the first rank writes at the end."""
        return Path(self.answers) / "model.safetensors"

    def kept_path(self, part: str) -> Path:
        """safetensors of the parameters at the end of a part of the training, likewise."""
        return Path(self.answers) / f"{part}.safetensors"

    @property
    def curve_path(self) -> Path:
        """JSON of the curve and the best epoch, likewise."""
        return Path(self.answers) / "curve.json"

    def report_error(self, error: HrnnError) -> None:
        """Leave an error for the launcher; called on the rank where it happened."""
        path = Path(self.answers) / f"error-{os.environ.get('RANK', '0')}.json"
        path.write_text(json.dumps({"kind": type(error).__name__, "message": str(error)}))

    def reported_error(self) -> HrnnError | None:
        """The error of the lowest rank that left one."""
        for path in sorted(Path(self.answers).glob("error-*.json")):
            answer = json.loads(path.read_text())
            kind = getattr(schemas.errors, answer["kind"], UserError)
            return error_of(kind, answer["message"])
        return None
