"""Jobs that write the manifests of a night and no more: a night in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from jobs.batch.options import read_options
from jobs.batch.parts import Part, store_part
from jobs.batch.run import run_batch
from jobs.batch.tally import Tally
from jobs.nightly.wording import metric_table, verdict
from jobs.platform.storage import StoredFile, list_input
from jobs.platform.storage.folders import StepFolder
from jobs.reports.charts import bar_plot, day_plot, line_plot
from jobs.reports.parts import Recommendation, SessionPart, UserPart
from schemas.batch_jobs import RecommendSettings
from schemas.errors import DataError
from schemas.manifest import Kind, fingerprint
from schemas.solutions import TrainSettings

METRICS = (
    *(f"normalized_discounted_cumulative_gain_at_{k}" for k in (5, 10, 25)),
    *(f"precision_at_{k}" for k in (5, 10, 25)),
    "mean_reciprocal_rank_at_25",
    "coverage",
)
NDCG = "normalized_discounted_cumulative_gain_at_25"


def measured(
    model: float = 0.3, popularity: float = 0.1, personal: float = 0.2, error: float = 0.01, recipe: str = "aws-hrnn"
) -> dict[str, Any]:
    """metrics.json in which all metrics of a row are equal, and the recipe."""
    rows = {"model": model, "popularity": popularity, "personal popularity": personal}
    table = {name: dict.fromkeys(METRICS, value) for name, value in rows.items()}
    gain = {name: {"difference": model - value, "standard_error": error} for name, value in list(rows.items())[1:]}
    counts = {"test_users": 40, "truth_events": 90}
    return {"recipe": recipe, "metrics": table["model"], "table": table, **counts, f"gain_in_{NDCG}": gain}


class Jobs:
    """Stands in for the jobs' functions.

    Attributes:
        ran: Labels of the steps that did something, in order.
        failing: Names of jobs that fail.
        errors: Of the three lines of a batch job, those that fail.
        before: Called with a job's name before it does anything.
    """

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failing: set[str] = set()
        self.errors = 0
        self.before: Callable[[str], None] = lambda job: None

    def function(self, job: str) -> Callable[..., dict[str, Any]]:
        """What jobs.nightly.running.job_function gives."""

        def call(*, output_uri: str, **arguments: Any) -> dict[str, Any]:
            self.before(job)
            if job in self.failing:
                raise DataError("the double was told to fail", where=job)
            return getattr(self, job)(output_uri=output_uri, **arguments)

        return call

    def validate(self, *, output_uri: str, data_uri: str, **rest: Any) -> dict[str, Any]:
        counts = {"rows_read": 10, "rows_accepted": 9, "rows_rejected": 1}
        return self._step("validate", "dataset", output_uri, [], [file.version for file in list_input(data_uri)], counts)

    def sessionize(self, *, output_uri: str, interactions_uri: str, **rest: Any) -> dict[str, Any]:
        counts = {"events": 9, "users": 3, "items": 4, "sessions": 5}
        return self._step("sessionize", "sequences", output_uri, [interactions_uri], [], counts)

    def train(self, *, output_uri: str, sequences_uri: str, settings: TrainSettings, **rest: Any) -> dict[str, Any]:
        facts = {"recipe": settings.recipe, "event_types": []}
        return self._step("train", "solution_version", output_uri, [sequences_uri], [], {}, facts)

    def evaluate(self, *, output_uri: str, solution_uri: str) -> dict[str, Any]:
        return self._step("evaluate", "evaluation", output_uri, [solution_uri], [], {}, {"metrics": measured()})

    def recommend(
        self,
        *,
        output_uri: str,
        solution_uri: str,
        input_uri: str,
        before_publication: Callable[[], None],
        master: str | None = None,
        anew: bool = False,
        settings: RecommendSettings,
    ) -> dict[str, Any]:
        solution = StepFolder(solution_uri)
        manifest = solution.require("solution_version")

        def answered(files: list[StoredFile], parts_uri: str, token: str) -> list[list[Part]]:
            self.ran.append("recommend")
            line = manifest.fingerprint.encode() + b"\n"
            tally = Tally(lines=3, errors=self.errors, first_error="no such user" if self.errors else "")
            return [[store_part([line], parts_uri, token, number, tally)] for number, _ in enumerate(files)]

        config = read_options(manifest, settings).config()
        return run_batch(
            "recommend",
            solution,
            manifest,
            config,
            input_uri,
            output_uri,
            answered,
            before_publication,
            max_error_fraction=settings.max_error_fraction,
            anew=anew,
        )

    def _step(
        self,
        job: str,
        kind: Kind,
        uri: str,
        sources: list[str],
        versions: list[str],
        counts: dict[str, int],
        facts: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        inputs = [folder.reference(manifest) for folder in map(StepFolder, sources) if (manifest := folder.manifest())]
        assert len(inputs) == len(sources)
        folder, identity = StepFolder(uri), fingerprint(job, {"facts": facts}, [*(each.version for each in inputs), *versions])
        found = folder.manifest()
        made = None if found is None else found.metadata["made"]  # as a dataset keeps it when users are deleted from it
        is_same = made == identity if job == "validate" else found is not None and found.fingerprint == identity
        skipped = found is not None and is_same and folder.is_whole(found)
        if not skipped:
            self.ran.append(job)
            entry = folder.put(folder.attempt_path("data/part-0.parquet"), identity.encode())
            folder.publish(kind, identity, {}, inputs, [entry], counts, {"made": identity, **(facts or {})})
        return {"job": job, "output": folder.uri, "skipped": skipped, "seconds": 0.0, **counts}


def write_shop(folder: Path, workspace: str | None = None) -> str:
    """A config beside its input files; returns the config's path."""
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    (folder / "raw" / "interactions.csv").write_text("USER_ID,ITEM_ID,TIMESTAMP\n")
    (folder / "schema.json").write_text(json.dumps({"type": "record"}))
    (folder / "users.json").write_text('{"userId": "1"}\n')
    config = folder / "shop.toml"
    config.write_text(f"""
        [dataset_group]
        name = "shop"
        workspace = "{workspace or folder / "workspace"}"
        [datasets.interactions]
        schema = "{folder}/schema.json"
        data = "{folder}/raw/"
        [solutions.for-you]
        recipe = "aws-hrnn"
        [batch_inference.users]
        solution = "for-you"
        input = "{folder}/users.json"
        output = "{folder}/out/"
    """)
    return str(config)


def sample_page(title: str = "Bananas, 40 LB") -> dict[str, Any]:
    """A page with one of everything."""
    user = UserPart(
        user_id="17",
        summary="9 events in 2 sessions",
        sessions=(SessionPart(day="03 Dec 2017", items=(title,), more=4),),
        recommendations=(Recommendation(title=title, taken=True), Recommendation(title="Milk", taken=False)),
    )
    columns, rows = metric_table({"for-you": measured()})
    return {
        "summary": {"group": "shop", "generation": 3, "finished": "2026-11-21 02:10:00 UTC"},
        "session_word": "session",
        "verdict": verdict({"for-you": measured()}),
        "tiles": (("rows read", "10"),),
        "notes": ("A note.",),
        "explanation": "How high.",
        "columns": columns,
        "metrics": rows,
        "segments": ("fans: few.",),
        "solutions": [
            {
                "name": "for-you",
                "recipe": "aws-hrnn",
                "report": "../../train/for-you/0123/report.html",
                "curves": (line_plot("Loss", [(1, 3), (2, 2)], "events", "loss"),),
            }
        ],
        "plots": (
            bar_plot("Lengths", [("1", 5), ("2", 3)], "events", "sessions"),
            day_plot("Days", {date(2017, 12, 3): 5}, "events"),
        ),
        "users": (user,),
        "steps": [("validate interactions", "1.2", "9 rows", "s3://b/x")],
        "software": "0.1.0",
    }
