"""The command `hrnn train`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.train.options import Nnodes, NodeRank, NprocPerNode, RdzvBackend, RdzvEndpoint, RdzvId
from schemas.documents import read_json
from schemas.errors import ConfigError
from schemas.quotas import PUBLISHED
from schemas.tuning import MOST_JOBS, MOST_PARALLEL_JOBS, MOST_SEED


def run(
    sequences: Annotated[str, typer.Option(help="Folder that `hrnn sessionize` wrote: s3://…, file://… or a path.")],
    output: Annotated[str, typer.Option(help="Folder of the solution version.")],
    recipe: Annotated[str, typer.Option(help="Recipe name or ARN; `hrnn recipes` lists them.")] = "aws-hrnn",
    hyperparameters: Annotated[str, typer.Option(help='JSON: {"hidden_dimension": "64"}; strings or numbers.')] = "{}",
    variant: Annotated[str, typer.Option(help="init: sessions start from the user state; all: every event sees it.")] = "init",
    loss: Annotated[str, typer.Option(help="cross_entropy, bpr_max, top1_max or top1.")] = "cross_entropy",
    epochs: Annotated[int | None, typer.Option(min=1, help="Most times that every event is met.")] = None,
    patience: Annotated[int | None, typer.Option(min=0, help="Epochs without better validation that end it; 0: never.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of everything random.")] = 0,
    time_limit: Annotated[float | None, typer.Option(min=0.0, help="Seconds after which the training loop ends.")] = None,
    within_session_only: Annotated[bool, typer.Option(help="The papers' mode: sessions' first events are no targets.")] = False,
    split: Annotated[
        str, typer.Option(help="personalize: nothing of tested users is learnt from; all_users: their older events are.")
    ] = "personalize",
    event_type: Annotated[str | None, typer.Option(help="Only events of this type are to be predicted.")] = None,
    event_value_threshold: Annotated[str | None, typer.Option(help="Only events of this EVENT_VALUE and more are.")] = None,
    events_config: Annotated[
        str | None, typer.Option(help='JSON: [{"event_type": "buy", "event_value_threshold": "1", "weight": 0.6}, …].')
    ] = None,
    hpo: Annotated[bool, typer.Option("--hpo", help="Search for better hyperparameters (performHPO).")] = False,
    hpo_jobs: Annotated[int, typer.Option(min=1, max=MOST_JOBS, help="--hpo: trainings in all.")] = 8,
    hpo_parallel_jobs: Annotated[int, typer.Option(min=1, max=MOST_PARALLEL_JOBS, help="--hpo: at the same time.")] = 1,
    hpo_ranges: Annotated[str, typer.Option(help='--hpo: JSON: {"bptt": [4, 16]}; else the whole ranges.')] = "{}",
    auto_ml: Annotated[bool, typer.Option("--auto-ml", help="Try the HRNN recipes, keep the best (performAutoML).")] = False,
    gru_baseline: Annotated[bool, typer.Option(help="Train a GRU without users, too, for the table of baselines.")] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where there is less than Personalize trains on.")] = False,
    quota: Annotated[list[str] | None, typer.Option(help="How much that is: interactions=500.", metavar="NAME=VALUE")] = None,
    nproc_per_node: NprocPerNode = None,
    nnodes: Nnodes = 1,
    node_rank: NodeRank = 0,
    rdzv_endpoint: RdzvEndpoint = None,
    rdzv_backend: RdzvBackend = "c10d",
    rdzv_id: RdzvId = "hrnn",
) -> dict[str, Any]:
    """Fit a recipe to sequences; write a solution version."""
    from jobs.train.job import train
    from jobs.train.launch import Launch

    ranges = _json(hpo_ranges, "--hpo-ranges", dict)
    searched = {"max_jobs": hpo_jobs, "parallel_jobs": hpo_parallel_jobs, "ranges": ranges}
    return train(
        sequences_uri=sequences,
        recipe=recipe,
        hyperparameters=_json(hyperparameters, "--hyperparameters", dict),
        output_uri=output,
        variant=variant,
        loss=loss,
        epochs=epochs,
        patience=patience,
        seed=seed,
        time_limit_seconds=time_limit,
        within_session_only=within_session_only,
        split=split,
        event_type=event_type,
        event_value_threshold=event_value_threshold,
        events_config=None if events_config is None else _json(events_config, "--events-config", list),
        hpo=searched if hpo else None,
        auto_ml=auto_ml,
        gru_baseline=gru_baseline,
        strict=strict,
        quotas=PUBLISHED.with_changes(quota or []),
        launch=Launch(
            nproc_per_node=nproc_per_node,
            nnodes=nnodes,
            node_rank=node_rank,
            rdzv_endpoint=rdzv_endpoint,
            rdzv_backend=rdzv_backend,
            rdzv_id=rdzv_id,
        ),
    )


def _json(text: str, option: str, kind: type) -> Any:
    """What an option's JSON says."""
    try:
        parsed = read_json(text)
    except ValueError as error:
        raise ConfigError(f"this is no JSON ({error})", where=option, value=text) from None
    if not isinstance(parsed, kind):
        raise ConfigError(f"this is no JSON {'object' if kind is dict else 'list'}", where=option, value=text)
    return parsed


if __name__ == "__main__":
    from jobs.cli import job_main

    job_main("train")
