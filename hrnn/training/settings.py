"""How a model is trained, and what a training tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hrnn.data.splits import Split

LossName = Literal["cross_entropy", "bpr_max", "top1_max", "top1"]
ScorePrecision = Literal["bfloat16", "float32"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a model is trained; what it is stands in its own settings.

    Attributes:
        num_lanes: Lanes of all ranks together; a rank gets its share.
        num_steps: Events through which gradients flow back (Personalize's `bptt`).
        epochs: Most times that every event is met.
        patience: Training ends when validation has not become better for so many epochs; None: never before `epochs`.
        loss: A key of hrnn.training.losses.LOSSES.
        num_negatives: Draws a window.
        exact_below: A catalogue with no more seen items than this is taken whole in place of draws.
        alpha: Negatives are drawn in proportion to count ** alpha.
        in_batch_negatives: Whether the window's own targets are negatives of its other rows too.
        item_rate: Adagrad's learning rate for the item table, falling linearly to zero over the epochs. At 0.25 held-out events
            cost a little less, but a night's lists were 2 % worse in NDCG@25 on kuairand_pure_late, and as good on groceries.
        dense_rate: The same for all other parameters.
        momentum: Adagrad's, 0 for none.
        input_dropout: Share of input numbers that are dropped.
        score_precision: bfloat16 rounds scores of negatives where the processor multiplies such numbers natively (their
            gradients are rounded in any case); parameters and sums stay in single precision.
        state_dropout: Share of predicting states' numbers that are dropped.
        within_session_only: The papers' mode: the first event of a session is no target.
        split: Whether test users' older events are learnt from (hrnn/data/splits.py); Personalize's are not.
        segments: Whether the events of every user are split for the evaluation, as for segments of users.
        gap_inputs: Whether the time since the previous event is an input.
        type_inputs: Whether the event's type is an input, where there are several.
        seed: Of everything random.
        checkpoint_seconds: Between two checkpoints.
        time_limit_seconds: Training ends with the first window after so many seconds; None: never.
    """

    num_lanes: int = 64
    num_steps: int = 32
    epochs: int = 5
    patience: int | None = 2
    loss: LossName = "cross_entropy"
    num_negatives: int = 1024
    exact_below: int = 1024
    alpha: float = 0.75
    in_batch_negatives: bool = False
    item_rate: float = 0.5
    dense_rate: float = 0.05
    momentum: float = 0.0
    input_dropout: float = 0.0
    state_dropout: float = 0.2
    score_precision: ScorePrecision = "bfloat16"
    within_session_only: bool = False
    split: Split = "personalize"
    segments: bool = False
    gap_inputs: bool = False
    type_inputs: bool = False
    seed: int = 0
    checkpoint_seconds: float = 120.0
    time_limit_seconds: float | None = None


@dataclass(frozen=True)
class CurvePoint:
    """One line of training.parquet, written at the end of an epoch.

    Attributes:
        step: Batches done.
        epoch: Epochs done.
        events: Events met, by all ranks.
        seconds: Since the start, interruptions left out.
        loss: Mean over the epoch's targets.
        learning_rate: Of the item table, in the epoch's last window.
        validation: Mean cost of held-out events, where it was asked for.
    """

    step: int
    epoch: int
    events: int
    seconds: float
    loss: float
    learning_rate: float
    validation: float | None = None
