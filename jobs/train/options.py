"""torchrun's options, as every command that trains takes them."""

from __future__ import annotations

from typing import Annotated

import typer

NprocPerNode = Annotated[
    int | None, typer.Option(min=1, max=1024, help="torchrun: ranks on this node.", show_default="one a GPU, else one")
]
Nnodes = Annotated[int, typer.Option(min=1, help="torchrun: nodes of the training.")]
NodeRank = Annotated[int, typer.Option(min=0, help="torchrun: this node's number; all but 0 only help to train.")]
RdzvEndpoint = Annotated[str | None, typer.Option(help="torchrun: host:port where nodes meet.")]
RdzvBackend = Annotated[str, typer.Option(help="torchrun: how they meet.")]
RdzvId = Annotated[str, typer.Option(help="torchrun: the same on all nodes.")]
