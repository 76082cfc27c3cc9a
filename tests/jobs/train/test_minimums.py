"""Too little to train on: Personalize's words stop a strict training and a night, and are told of otherwise."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from called_jobs import train
from night_double import write_shop
from small_sequences import circular_histories, publish_sequences, sequences_of

from jobs.nightly.configs import load_config
from jobs.nightly.plan import plan_night
from schemas.errors import DataError
from schemas.quotas import PUBLISHED

CIRCLE = sequences_of(circular_histories(80, 15))  # 80 users with 8 to 19 events each: more than 1,000
BOUGHT = replace(CIRCLE, event_types=(CIRCLE.item_rows % 3 == 0).astype(np.int32))
FEW_USERS = "Create failed. Dataset has fewer than 25 users with at least 2 interactions each."


def trained(tmp_path: Path, uri: str, **settings: object) -> None:
    train(sequences_uri=uri, output_uri=str(tmp_path / "version"), recipe="aws-popularity-count", **settings)  # type: ignore[arg-type]


def test_enough_is_trained_on_strictly(tmp_path: Path) -> None:
    trained(tmp_path, publish_sequences(CIRCLE, str(tmp_path / "sequences"), tmp_path), strict=True)


def test_few_users_stop_a_strict_training_with_personalizes_words_and_leave_nothing(tmp_path: Path) -> None:
    few = sequences_of(circular_histories(24, 15))
    uri = publish_sequences(few, str(tmp_path / "sequences"), tmp_path)
    lower = PUBLISHED.with_changes(["interactions=1"])
    with pytest.raises(DataError, match=f"^{re.escape(FEW_USERS)}") as refusal:
        trained(tmp_path, uri, strict=True, quotas=lower)
    assert f"{few.num_events} interactions count, of 24 users; 24 have two or more" in str(refusal.value)
    assert "--strict" in str(refusal.value)
    assert not (tmp_path / "version" / "manifest.json").exists()
    trained(tmp_path, uri, strict=True, quotas=lower.with_changes(["users_with_two_events=24"]))


def test_minimums_count_what_event_rules_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = publish_sequences(BOUGHT, str(tmp_path / "sequences"), tmp_path, event_types=("view", "buy"))
    said = "Create failed. Dataset has fewer than 1000 interactions after filtering by event type: buy."
    with pytest.raises(DataError, match=f"^{re.escape(said)}"):
        trained(tmp_path, uri, strict=True, event_type="buy")
    trained(tmp_path, uri, event_type="buy")
    assert f"Personalize would say: {said}" in capsys.readouterr().err
    with pytest.raises(DataError, match=f"^{re.escape(said)}"):  # the version lies there, and was trained on too little
        trained(tmp_path, uri, strict=True, event_type="buy")


def test_a_night_refuses_by_default_and_can_be_told_to_warn(tmp_path: Path) -> None:
    config = Path(write_shop(tmp_path))
    [refusing] = plan_night(load_config(str(config))[0]).of("train")
    assert (refusing.arguments["settings"].strict, refusing.arguments["settings"].quotas) == (True, PUBLISHED)
    config.write_text(config.read_text() + '[training]\nminimums = "warn"\n')
    [warning] = plan_night(load_config(str(config))[0]).of("train")
    assert warning.arguments["settings"].strict is False
    assert warning.folder != refusing.folder
    config.write_text(config.read_text().replace('"warn"', '"refuse"') + "[validation.quotas]\ninteractions = 7\n")
    [lower] = plan_night(load_config(str(config))[0]).of("train")
    assert lower.arguments["settings"].quotas.interactions == 7
