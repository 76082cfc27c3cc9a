"""torchrun's options, as every command that trains takes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.settings import Option, Settings, setting


class LaunchSettings(Settings):
    """Where ranks run; each field is torchrun's option of that name."""

    nproc_per_node: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = setting(
        None, "torchrun: ranks on this node.", Option(left_out="one a GPU, else one")
    )
    nnodes: Annotated[int, Field(strict=True, ge=1)] = setting(1, "torchrun: nodes of the training.")
    node_rank: Annotated[int, Field(strict=True, ge=0)] = setting(
        0, "torchrun: this node's number; all but 0 only help to train."
    )
    rdzv_endpoint: str | None = setting(None, "torchrun: host:port where nodes meet.")
    rdzv_backend: str = setting("c10d", "torchrun: how they meet.")
    rdzv_id: str = setting("hrnn", "torchrun: the same on all nodes.")
