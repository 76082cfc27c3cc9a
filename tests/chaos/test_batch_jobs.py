"""The promises of `make chaos-recommend`, with fewer kills; and that it sees where one is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from kill_batch_jobs import Batch, Work, recommend_kills
from killed_run import BUCKET, Broken, Place

from infra.local_s3 import local_s3

WORK = Work("recommend", (), {"a.json": b"", "b.json": b""})
PART = "_hrnn/parts/part-000000-0123456789ab-ba9876543210.out"


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_killed_batch_inference_ends_with_the_same_bytes(tmp_path: Path) -> None:
    recommend_kills(kills=3, seed=2, folder=tmp_path, speculate=False, warm=True)


def test_what_is_broken_is_seen(tmp_path: Path) -> None:
    with local_s3(tmp_path / "s3", [BUCKET]) as environment:
        place = Place(environment, tmp_path)
        calm, other = Batch(place, "calm", WORK), Batch(place, "other", WORK)

        def put(path: str, data: bytes) -> None:
            place.client.put_object(Bucket=BUCKET, Key=f"other/out/{path}", Body=data)

        answers = {"a.json.out": b"answers", "b.json.out": b"more", "_CHECK": b""}
        for name, data in answers.items():
            place.client.put_object(Bucket=BUCKET, Key=f"calm/out/{name}", Body=data)
            put(name, data)
        other.whole = calm.outputs()
        other.check_output()
        other.compare(calm)

        put("a.json.out", answers["a.json.out"][:3])
        with pytest.raises(Broken, match=r"a reader sees 3 bytes of out/a\.json\.out that differ"):
            other.check_output()
        place.client.delete_object(Bucket=BUCKET, Key="other/out/a.json.out")
        with pytest.raises(Broken, match="_CHECK is there, but of the answers only"):
            other.check_output()
        put("a.json.out", answers["a.json.out"])

        put(PART, b"answers")
        with pytest.raises(Broken, match=r"other files .*_hrnn/parts/part-000000-"):
            other.compare(calm)
        place.client.delete_object(Bucket=BUCKET, Key=f"other/out/{PART}")
        upload = place.client.create_multipart_upload(Bucket=BUCKET, Key="other/out/b.json.out")["UploadId"]
        place.client.upload_part(Bucket=BUCKET, Key="other/out/b.json.out", UploadId=upload, PartNumber=1, Body=b"12345")
        with pytest.raises(Broken, match=r"unfinished uploads are left: .*b\.json\.out"):
            other.compare(calm)
        place.client.close()
