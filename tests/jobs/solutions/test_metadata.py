from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from called_jobs import sessionize
from typed_datasets import publish_interactions, publish_users

from hrnn.data.metadata import Metadata
from jobs.platform.storage.folders import StepFolder
from jobs.solutions.metadata import metadata_of_shard, stage_metadata
from jobs.solutions.staging import METADATA, stage
from schemas.datasets import parse_schemas
from schemas.training_columns import TrainingColumns

CATEGORY = {"type": ["null", "string"], "categorical": True}


@pytest.mark.usefixtures("spark")
def test_a_shard_s_columns_are_those_that_all_users_and_events_have(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    events = [
        (
            f"u{random.integers(40)}",
            f"i{random.integers(9)}",
            1_700_000_000 + number,
            str(random.choice(["app", "web"])),
            1.5 * number,
        )
        for number in range(400)
    ]
    users = [(f"u{number}", f"land {7 * number % 11}", float(number)) for number in range(0, 40, 2)]
    interactions = publish_interactions(f"{tmp_path}/in", events, {"DEVICE": CATEGORY, "EVENT_VALUE": "float"})
    of_users = publish_users(f"{tmp_path}/users", users, {"LAND": CATEGORY, "AGE": "float"})
    sessionize(interactions_uri=interactions, users_uri=of_users, output_uri=f"{tmp_path}/sequences", num_shards=3)
    source = StepFolder(f"{tmp_path}/sequences")
    (tmp_path / "scratch").mkdir()
    staged = stage(source, source.require("sequences"), tmp_path / "scratch")
    stage_metadata(source, staged, TrainingColumns(), tmp_path / "scratch")
    whole, done = Metadata.load(staged.arrays / METADATA), 0
    named = {kind: list(getattr(whole, kind)) for kind in ("user_codes", "event_codes", "event_numbers")}
    assert named == {"user_codes": ["LAND", "AGE"], "event_codes": ["DEVICE"], "event_numbers": ["EVENT_VALUE"]}
    facts = staged.manifest.metadata
    attributes = [Path(source.uri_of(path)) for path in facts["attributes"]]
    for number, shard in enumerate(staged.shards):
        first, count, num_events = (int(shard[name]) for name in ("first_user_row", "num_users", "num_events"))
        ids = pq.read_table(staged.users[number])
        ids = ids.set_column(ids.column_names.index("user_row"), "user_row", pa.array(ids["user_row"].to_numpy() - first))
        schemas = parse_schemas(facts["schemas"], "")
        found = metadata_of_shard(named, schemas, attributes, ids, count, number, staged.events[number])
        for name, codes in whole.user_codes.items():
            np.testing.assert_array_equal(found.user_codes[name], codes[first : first + count])
            assert len(np.unique(codes)) > 5
        for kind in ("event_codes", "event_numbers"):
            for name, values in getattr(whole, kind).items():
                np.testing.assert_array_equal(getattr(found, kind)[name], values[done : done + num_events])
        done += num_events
    assert len(staged.shards) == 3
    assert done == 400
