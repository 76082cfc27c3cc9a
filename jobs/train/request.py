"""What a training is asked for, read and checked: recipe, hyperparameters, settings, event rules, search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast, get_args

from pydantic import ValidationError

from hrnn.data.splits import Split
from hrnn.training.losses import LOSSES
from hrnn.training.settings import LossName, TrainingSettings
from jobs.platform.storage import join
from jobs.train.fit import TrainingJob
from jobs.train.search import Search, offered_recipes
from jobs.versions import TRAINING_VERSION
from schemas.errors import ConfigError
from schemas.event_rules import EventRules, event_rules
from schemas.hyperparameters import Hyperparameters, bare_name
from schemas.manifest import Manifest, fingerprint
from schemas.recipes import parse_hyperparameters, recipe_for
from schemas.solutions import Hpo
from schemas.tuning import MOST_SEED

CHECKPOINTS, TRIALS = "checkpoints", "trials"  # folders of a solution version, while it is trained


@dataclass(frozen=True, kw_only=True)
class Request:
    """A checked request.

    Attributes:
        recipe: Personalize's name.
        given: Hyperparameters as they were given, by their bare names.
        hyperparameters: Parsed.
        settings: How to train.
        variant: Of HRNN.
        rules: Which events are targets; None: all.
        hpo: Bounds of a search for hyperparameters; None: none.
        auto_ml: Whether the recipe is searched for.
        gru_baseline: Whether a plain GRU is trained too, to stand beside the model.
    """

    recipe: str
    given: dict[str, Any]
    hyperparameters: Hyperparameters
    settings: TrainingSettings
    variant: str
    rules: EventRules | None
    hpo: Hpo | None
    auto_ml: bool
    gru_baseline: bool

    def config(self) -> dict[str, Any]:
        """What of it decides about the result."""
        settings = {key: value for key, value in asdict(self.settings).items() if key not in ("checkpoint_seconds", "holdout")}
        settings["segments"] = self.settings.holdout == "everyone"  # as fingerprints and manifests have it
        hpo = None if self.hpo is None else self.hpo.model_dump()
        return {
            "recipe": self.recipe,
            "hyperparameters": self.hyperparameters.model_dump(),
            "version": TRAINING_VERSION,
            "variant": self.variant,
            "settings": settings,
            "events": None if self.rules is None else asdict(self.rules),
            "hpo": hpo,
            "auto_ml": self.auto_ml,
            "gru_baseline": self.gru_baseline,
        }

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
            variant=self.variant,
            gap_seconds=sequences.metadata.get("gap_seconds"),
            identity=fingerprint("train", self.config(), [sequences.fingerprint]),
            checkpoints_uri=join(folder, CHECKPOINTS),
            rules=self.rules,
            gru_baseline=self.gru_baseline,
        )

    def search(self, folder: str, identity: str) -> Search | None:
        """What is searched for, in a solution version's folder, by the fingerprint of the version; None: nothing."""
        trials = join(folder, TRIALS, identity[:12])  # of this search alone: it clears them all away
        if self.auto_ml:
            return Search(None, offered_recipes(), trials)
        return None if self.hpo is None else Search(self.hpo, (self.recipe,), trials, self.given)


def read_request(
    *,
    recipe: str,
    hyperparameters: Mapping[str, Any],
    variant: str,
    loss: str,
    epochs: int | None,
    patience: int | None,
    seed: int,
    time_limit_seconds: float | None,
    within_session_only: bool,
    split: str,
    event_type: str | None,
    event_value_threshold: str | float | None,
    events_config: Sequence[Mapping[str, Any]] | None,
    hpo: Mapping[str, Any] | None,
    auto_ml: bool,
    gru_baseline: bool,
) -> Request:
    """Check what `jobs.train.job.train` was told; see there.

    Raises:
        ConfigError: A setting is not allowed.
    """
    name = recipe_for(recipe).name
    parsed = parse_hyperparameters(recipe, dict(hyperparameters))
    if variant not in ("init", "all"):
        raise ConfigError("there is no such variant of HRNN", where="variant", value=variant, allowed="init, all")
    if loss not in LOSSES:
        raise ConfigError("there is no such loss", where="loss", value=loss, allowed=", ".join(LOSSES))
    if split not in get_args(Split):
        raise ConfigError("there is no such split", where="split", value=split, allowed=", ".join(get_args(Split)))
    if epochs is not None and epochs < 1:
        raise ConfigError("at least one epoch is needed", where="epochs", value=epochs, allowed="1 and more")
    if patience is not None and patience < 0:
        raise ConfigError("patience is a number of epochs", where="patience", value=patience, allowed="0 (endless) and more")
    if not 0 <= seed <= MOST_SEED:
        raise ConfigError("a seed has 63 bits", where="seed", value=seed, allowed=f"0 to {MOST_SEED}")
    if auto_ml and (hpo is not None or hyperparameters):
        raise ConfigError(
            "AutoML takes the HRNN recipes with their defaults", where="auto_ml", allowed="neither hpo nor hyperparameters"
        )
    settings = TrainingSettings(
        num_steps=getattr(parsed, "bptt", TrainingSettings.num_steps),
        epochs=epochs or TrainingSettings.epochs,
        patience=TrainingSettings.patience if patience is None else patience or None,
        loss=cast(LossName, loss),
        seed=seed,
        time_limit_seconds=time_limit_seconds,
        within_session_only=within_session_only,
        split=cast(Split, split),
        holdout="everyone" if recipe_for(recipe).recipe_type == "USER_SEGMENTATION" else "sample",
    )
    request = Request(
        recipe=name,
        given={bare_name(written): value for written, value in hyperparameters.items()},
        hyperparameters=parsed,
        settings=settings,
        variant=variant,
        rules=event_rules(event_type, event_value_threshold, events_config),
        hpo=_hpo(hpo),
        auto_ml=auto_ml,
        gru_baseline=gru_baseline,
    )
    wanted = request.search("", "")
    if wanted is not None:
        wanted.check()
    return request


def _hpo(given: Mapping[str, Any] | None) -> Hpo | None:
    try:
        return None if given is None else Hpo(**given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["hpo", *map(str, first["loc"])])
        raise ConfigError(first["msg"], where=key, value=first.get("input")) from None
