"""A workspace as nights leave it, without a night: datasets, sequences, a solution version, lists, pages, and leftovers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tiny_solution import publish_solution
from typed_datasets import publish_interactions

from jobs.export.job import export
from jobs.platform.storage.folders import StepFolder
from jobs.platform.storage.records import write_record
from schemas.columns import USER_ID, USER_ROW


def write_workspace(workspace: Path, num_users: int = 30) -> None:
    """Write it; user u has u % 5 + 1 events, and its lists are in `<workspace>/out`.

    Args:
        workspace: Folder; made where it is missing.
        num_users: Users "user 0", "user 1", …
    """
    users = [f"user {number}" for number in range(num_users)]
    rows = [(user, f"i{place}", 1000 + place) for number, user in enumerate(users) for place in range(number % 5 + 1)]
    typed = publish_interactions(str(workspace / "validate" / "interactions" / ("a" * 12)), rows, parts=3)
    export(dataset_uri=typed, output_uri=str(workspace / "exported"))
    solution = publish_solution(str(workspace / "train" / "for-you" / ("b" * 12)), num_users=num_users, num_items=20)

    sequences = StepFolder(str(workspace / "sessionize" / "sequences" / ("c" * 12)))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({USER_ID: users, USER_ROW: list(range(num_users))}), sink)
    entry = sequences.put(sequences.attempt_path("users/part-0.parquet"), sink.getvalue().to_pybytes(), num_users)
    sequences.publish("sequences", "1" * 64, {}, [], [entry])

    out = workspace / "out"
    out.mkdir()
    lines = [
        json.dumps({"input": {"userId": user}, "output": {"recommendedItems": solution.item_ids[:3]}, "error": None})
        for user in users
    ]
    (out / "users.json.out").write_text("".join(line + "\n" for line in lines))
    listed = ",".join(f'"{user}"' for user in users[5:12])
    line = f'{{"input": {{"itemId": "i1"}}, "output": {{"usersList": [{listed}]}}, "error": null}}\n'
    (out / "items.json.out").write_text(line)
    (out / "_CHECK").write_bytes(b"")
    record = StepFolder(str(out / "_hrnn"))
    outputs = [
        {"name": path.name, "size": path.stat().st_size, "version": "old", "lines": len(path.read_text().splitlines())}
        for path in sorted(out.glob("*.out"))
    ]
    record.publish("batch_inference", "2" * 64, {}, [], [], metadata={"outputs": outputs})

    night = workspace / "nights" / "gen-000001"
    night.mkdir(parents=True)
    (night / "report.html").write_text("<h3>User user 7 <span>(3 events)</span></h3>")
    told = {"job": "recommend", "name": "users", "fingerprint": "3" * 64, "settings": {}, "inputs": {}}
    write_record(str(night / "summary.json"), {"steps": [told | {"folder": str(out) + "/"}]})
    left = workspace / "train" / "for-you" / ("d" * 12) / "checkpoints"
    left.mkdir(parents=True)
    (left / "step-1.safetensors").write_text("of a training that never finished")
    long_ago = time.time() - 7200
    os.utime(left / "step-1.safetensors", (long_ago, long_ago))
