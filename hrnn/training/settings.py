"""Settings of a training, and the points of its learning curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hrnn.data.splits import Holdout
from schemas.solutions import LossName, Split

ScorePrecision = Literal["bfloat16", "float32"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of the training; hyperparameters of the model are in its config.

    Attributes:
        num_lanes: Lanes of all ranks together; a rank gets its share.
        num_steps: Events through which gradients flow back (Personalize's `bptt`).
        epochs: At most.
        patience: Early stopping, after so many epochs without a lower held-out loss; None: never before `epochs`.
        loss: A key of hrnn.training.losses.LOSSES.
        num_negatives: Draws a batch.
        exact_below: A catalogue with no more items with events than this is taken whole in place of draws.
        alpha: Negatives are drawn in proportion to count ** alpha.
        in_batch_negatives: Whether the batch's own targets are negatives of its other rows too.
        item_rate: Adagrad's learning rate for the item table, falling linearly to zero over the epochs. At 0.25 held-out events
            cost a little less, but a night's lists were 2 % worse in NDCG@25 on kuairand_pure_late, and as good on groceries.
        dense_rate: The same for all other parameters.
        momentum: Adagrad's, 0 for none.
        input_dropout: Dropout rate of input vectors.
        score_precision: bfloat16 rounds scores of negatives where the processor multiplies such numbers natively (their
            gradients are rounded in any case); parameters and sums stay in single precision.
        state_dropout: Dropout rate of output states.
        within_session_only: The papers' mode: the first event of a session is no target.
        split: Whether test users' older events are learnt from (hrnn/data/splits.py); Personalize's are not.
        holdout: Whose newest events are hidden for the evaluation: those of a sample of users, or everyone's.
        gap_inputs: Whether the time since the previous event is an input feature.
        type_inputs: Whether the event's type is an input feature, where there are several.
        seed: Of all random numbers.
        checkpoint_seconds: Between two checkpoints.
        time_limit_seconds: Training ends with the first batch after so many seconds; None: never.
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
    holdout: Holdout = "sample"
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
        events: Events done, by all ranks.
        seconds: Since the start, interruptions left out.
        loss: Mean over the epoch's targets.
        learning_rate: Of the item table, in the epoch's last batch.
        validation: Held-out loss, where it was computed (hrnn/training/heldout_loss.py).
    """

    step: int
    epoch: int
    events: int
    seconds: float
    loss: float
    learning_rate: float
    validation: float | None = None
