"""What a worker holds of a hostile file, however little of it are rows."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MOST_BYTES = 1 << 30
SCRIPT = """
import json, re, sys
from pathlib import Path
from jobs.platform.storage import list_input
from jobs.validate.inputs import open_inputs
from jobs.validate.keys import KeyCollector
from jobs.validate.parts import check_part
from jobs.validate.plan import ImportPlan, gather
from jobs.validate.splits import plan_splits
from schemas.datasets import parse_schema_document

fields = [{"name": name, "type": "string"} for name in ("USER_ID", "ITEM_ID")] + [{"name": "TIMESTAMP", "type": "long"}]
schema = parse_schema_document({"type": "record", "name": "Interactions", "fields": fields})
folder = sys.argv[1]
files = open_inputs(list_input(folder + "/in"), folder, schema)
plan = ImportPlan(
    schema=schema,
    output_uri=folder + "/out",
    parts=tuple(gather(plan_splits(files, 1 << 30, None), 1 << 30)),
    references=(),
    file_names=(files[0].name,),
    gap_seconds=1800,
)
with KeyCollector(schema) as keys:
    [count] = check_part(plan.parts[0], plan, keys)["files"]
peak = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps({"rejected": count["rows_rejected"], "bytes": int(peak[1]) << 10}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_a_worker_holds_less_than_a_gibibyte_of_lines_that_are_next_to_nothing(tmp_path: Path, packed: bool) -> None:
    data = b"USER_ID,ITEM_ID,TIMESTAMP\n" + b",,\n" * ((16 << 20) // 3)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "events.csv").write_bytes(gzip.compress(data, 1) if packed else data)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"HRNN_SCRATCH": str(tmp_path)}
    )
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told["rejected"] == (16 << 20) // 3
    assert told["bytes"] < MOST_BYTES
