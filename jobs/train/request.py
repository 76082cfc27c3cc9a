"""What a training is asked for, read and checked: recipe, hyperparameters, settings, event rules, search."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hrnn.training.settings import TrainingSettings
from jobs.platform.storage import join
from jobs.train.fit import TrainingJob
from jobs.train.search import Search, offered_recipes
from jobs.versions import TRAINING_VERSION
from schemas.event_rules import EventRules
from schemas.hyperparameters import Hyperparameters, bare_name
from schemas.manifest import Manifest, fingerprint
from schemas.recipes import parse_hyperparameters, recipe_for
from schemas.solutions import TrainSettings
from schemas.training_columns import TrainingColumns

_DAY = 86_400
CHECKPOINTS, TRIALS = "checkpoints", "trials"  # folders of a solution version, while it is trained


@dataclass(frozen=True, kw_only=True)
class Request:
    """A checked request.

    Attributes:
        asked: What was asked for.
        recipe: Personalize's name.
        given: Hyperparameters as they were given, by their bare names.
        hyperparameters: Parsed.
        settings: How to train.
        rules: Which events are targets; None: all.
        columns: Of the datasets, that are learnt from.
    """

    asked: TrainSettings
    recipe: str
    given: dict[str, Any]
    hyperparameters: Hyperparameters
    settings: TrainingSettings
    rules: EventRules | None
    columns: TrainingColumns

    def config(self) -> dict[str, Any]:
        """What of it decides about the result."""
        settings = {key: value for key, value in asdict(self.settings).items() if key not in ("checkpoint_seconds", "holdout")}
        settings["segments"] = self.settings.holdout == "everyone"  # as fingerprints and manifests have it
        hpo = None if self.asked.hpo is None else self.asked.hpo.model_dump()
        return {
            "recipe": self.recipe,
            "hyperparameters": self.hyperparameters.model_dump(),
            "version": TRAINING_VERSION,
            "variant": self.asked.variant,
            "settings": settings,
            "events": None if self.rules is None else self.rules.facts(),
            "hpo": hpo,
            "auto_ml": self.asked.auto_ml,
            "gru_baseline": self.asked.gru_baseline,
            "ranker": self.asked.ranker,
            "horizon_seconds": self.horizon_seconds,
            "lag_seconds": self.lag_seconds,
            "columns": self.columns.facts(),
        }

    @property
    def horizon_seconds(self) -> int:
        """The period that lists are made for."""
        return round((1.0 if self.asked.horizon_days is None else self.asked.horizon_days) * _DAY)

    @property
    def lag_seconds(self) -> int:
        """From the end of the data until lists are read."""
        return round((self.asked.lag_hours or 0.0) * 3_600)

    def job(self, sequences: Manifest, folder: str) -> TrainingJob:
        """What is to be fitted where nothing is searched for.

        Args:
            sequences: Their manifest.
            folder: URI of the solution version.
        """
        return TrainingJob(
            recipe=self.recipe,
            hyperparameters=self.hyperparameters,
            settings=self.settings,
            variant=self.asked.variant,
            gap_seconds=sequences.metadata.get("gap_seconds"),
            identity=fingerprint("train", self.config(), [sequences.fingerprint]),
            checkpoints_uri=join(folder, CHECKPOINTS),
            rules=self.rules,
            columns=self.columns,
            gru_baseline=self.asked.gru_baseline,
            ranker=self.asked.ranker,
            horizon_seconds=self.horizon_seconds,
            lag_seconds=self.lag_seconds,
        )

    def search(self, folder: str, identity: str) -> Search | None:
        """What is searched for, in a solution version's folder, by the fingerprint of the version; None: nothing."""
        trials = join(folder, TRIALS, identity[:12])  # of this search alone: it clears them all away
        if self.asked.auto_ml:
            return Search(None, offered_recipes(), trials)
        return None if self.asked.hpo is None else Search(self.asked.hpo, (self.recipe,), trials, self.given)


def read_request(asked: TrainSettings) -> Request:
    """Check what `jobs.train.job.train` was told.

    Raises:
        ConfigError: Settings do not go together, or not with the recipe.
    """
    recipe = recipe_for(asked.recipe)
    parsed = parse_hyperparameters(asked.recipe, asked.hyperparameters)
    asked.check_auto_ml("auto_ml")
    asked.check_effects(recipe)
    settings = TrainingSettings(
        num_steps=getattr(parsed, "bptt", TrainingSettings.num_steps),
        epochs=asked.epochs or TrainingSettings.epochs,
        patience=TrainingSettings.patience if asked.patience is None else asked.patience or None,
        loss=asked.loss,
        seed=asked.seed,
        time_limit_seconds=asked.time_limit_seconds,
        within_session_only=asked.within_session_only,
        split=asked.split,
        holdout="everyone" if recipe.makes_segments else "sample",
    )
    request = Request(
        asked=asked,
        recipe=recipe.name,
        given={bare_name(written): value for written, value in asked.hyperparameters.items()},
        hyperparameters=parsed,
        settings=settings,
        rules=asked.event_rules(),
        columns=asked.training_columns,
    )
    wanted = request.search("", "")
    if wanted is not None:
        wanted.check()
    return request
