"""Train a session model window by window, on one rank or many.

Each window: the ranks tell one another which items they hold, draw the same negatives, compute the loss of their own
lanes, add up the gradients
of the touched item rows and of all other parameters in one exchange, and take the same step. Parameters stay bitwise
equal on all ranks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from hrnn.batching import LanePlan, Rows, Window
from hrnn.checkpoints import Checkpoint, CheckpointStore, newest_checkpoint, save_checkpoint
from hrnn.distributed import Ranks
from hrnn.losses import sampled_loss
from hrnn.negatives import Negatives, NegativeSampler
from hrnn.optimiser import Adagrad
from hrnn.recurrence import Starts
from hrnn.sequences import Sequences
from schemas.errors import ConfigError, DataError

LossName = Literal["cross_entropy", "bpr_max", "top1_max", "top1"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a model is trained; what it is stands in its own settings.

    Attributes:
        num_lanes: Lanes of all ranks together; a rank gets its share.
        num_steps: Events through which gradients flow back (Personalize's `bptt`).
        epochs: Times every event is met.
        loss: A key of hrnn.losses.LOSSES.
        num_negatives: Draws a window; a catalogue with no more seen items than `exact_below` is taken whole instead.
        exact_below: Seen items up to which the softmax is exact.
        alpha: Negatives are drawn in proportion to count ** alpha.
        learning_rate: Adagrad's, falling linearly to zero over the epochs.
        momentum: Adagrad's, 0 for none.
        input_dropout: Share of input numbers that are dropped.
        state_dropout: Share of predicting states' numbers that are dropped.
        within_session_only: The papers' mode: the first event of a session is no target.
        seed: Of everything random.
        checkpoint_seconds: Between two checkpoints.
        time_limit_seconds: Training stops at the first window after so many seconds; None: never.
    """

    num_lanes: int = 64
    num_steps: int = 32
    epochs: int = 5
    loss: LossName = "cross_entropy"
    num_negatives: int = 1024
    exact_below: int = 1024
    alpha: float = 0.75
    learning_rate: float = 0.1
    momentum: float = 0.0
    input_dropout: float = 0.0
    state_dropout: float = 0.0
    within_session_only: bool = False
    seed: int = 0
    checkpoint_seconds: float = 120.0
    time_limit_seconds: float | None = None


class TrainableModel(Protocol):
    """What the trainer asks of a model."""

    item_table: Tensor
    dense: Tensor

    def to(self, device: torch.device) -> TrainableModel:
        """The same parameters on a device."""

    def states(self, embedded: Tensor, session: Tensor, user: Tensor, starts: Starts) -> tuple[Tensor, Tensor, Tensor]:
        """States that predict each event [T, B, H], and those carried on."""


@dataclass
class CurvePoint:
    """One line of training.parquet."""

    step: int
    epoch: int
    events: int
    seconds: float
    loss: float
    learning_rate: float
    validation: float | None = None


@dataclass
class _Cursor:
    """Where a training stands; a checkpoint holds it."""

    epoch: int = 0
    window: int = 0
    step: int = 0
    events: int = 0
    seconds: float = 0.0
    epoch_loss: float = 0.0
    epoch_events: int = 0
    finished: bool = False
    curve: list[dict[str, Any]] = field(default_factory=list)


class Stopped(Exception):
    """The training was asked to stop before its end; its checkpoint is written."""


class Trainer:
    """Trains one model; see the module's text.

    Args:
        model: Fresh parameters; changed in place.
        sequences: What to learn from, hidden events already truncated away.
        user_rows: int64, users to learn from.
        settings: How.
        ranks: This process among the others.
        store: Where checkpoints go; None for none.
        identity: What the training is of; a checkpoint of something else is ignored.
        validate: Called on rank 0 after each epoch, gives the number for the curve.
        progress: Called with (events done since the last call on all ranks, text).
        should_stop: Asked once a window; True ends the training with a checkpoint (SIGTERM).
    """

    def __init__(
        self,
        model: TrainableModel,
        sequences: Sequences,
        user_rows: Rows,
        settings: TrainingSettings,
        *,
        ranks: Ranks | None = None,
        store: CheckpointStore | None = None,
        identity: str = "",
        validate: Callable[[TrainableModel], float] | None = None,
        progress: Callable[[int, str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.ranks = ranks or Ranks.alone()
        self.model = model.to(self.ranks.device)
        self.settings, self._sequences, self._user_rows = settings, sequences, user_rows
        self._store, self._identity = store, identity
        self._validate, self._progress, self._should_stop = validate, progress, should_stop
        if settings.num_lanes % self.ranks.world_size:
            raise ConfigError(
                "the lanes can't be shared out evenly among the ranks",
                where="num_lanes",
                value=settings.num_lanes,
                allowed=f"a multiple of {self.ranks.world_size}",
            )
        self._lanes = settings.num_lanes // self.ranks.world_size
        counts = sequences.item_counts()
        if int((counts > 0).sum()) < 2:
            raise DataError(
                "there are fewer than two items to learn from", remedy="Train aws-popularity-count, or bring more data."
            )
        seen = int((counts > 0).sum())
        self._sampler = NegativeSampler(
            counts,
            alpha=settings.alpha,
            num_samples=settings.num_negatives if seen > settings.exact_below else seen,
            seed=settings.seed,
        )
        self._table = Adagrad(self.model.item_table, settings.learning_rate, settings.momentum)
        self._dense = Adagrad(self.model.dense, settings.learning_rate, settings.momentum)
        self._cursor = _Cursor()
        width = self.model.item_table.shape[1] - 1
        self._session = torch.zeros(self._lanes, width, device=self.ranks.device)
        self._user = torch.zeros_like(self._session)
        self._began = time.monotonic()

    def run(self) -> list[CurvePoint]:
        """Train to the end, from the newest checkpoint if there is one; returns one point an epoch.

        Raises:
            DataError: The loss is not a number.
            Stopped: `should_stop` said so, or the time limit of another run was met; a checkpoint is written.
        """
        self._resume()
        cursor, settings = self._cursor, self.settings
        self._began = time.monotonic() - cursor.seconds
        saved = time.monotonic()
        while cursor.epoch < settings.epochs and not cursor.finished:
            plan = self._plan(cursor.epoch)
            if cursor.window == 0:
                self._session.zero_()
                self._user.zero_()
            while cursor.window < plan.num_windows:
                due = time.monotonic() - saved >= settings.checkpoint_seconds
                over = settings.time_limit_seconds is not None and time.monotonic() - self._began >= settings.time_limit_seconds
                stop = self._should_stop is not None and self._should_stop()
                due, over, stop = self._step(plan, (due, over, stop))
                if due or stop:
                    self._save()
                    saved = time.monotonic()
                if stop:
                    raise Stopped
                if over:
                    cursor.finished = True
                    break
            self._end_epoch()
        cursor.finished = True
        self._save()
        return [CurvePoint(**point) for point in cursor.curve]

    def _plan(self, epoch: int) -> LanePlan:
        return LanePlan(
            self._sequences,
            self._user_rows,
            self._lanes,
            self.settings.num_steps,
            seed=self.settings.seed,
            epoch=epoch,
            rank=self.ranks.rank,
            world_size=self.ranks.world_size,
        )

    def _step(self, plan: LanePlan, flags: tuple[bool, bool, bool]) -> tuple[bool, bool, bool]:
        """One window: loss, gradients, exchange, update. A flag raised on any rank comes back raised on all."""
        cursor, settings, device = self._cursor, self.settings, self.ranks.device
        window = plan.window(cursor.window)
        negatives = self._sampler.draw(cursor.epoch, cursor.window)
        rows = self._touched(window, negatives)
        local = self.model.item_table.index_select(0, rows).requires_grad_()
        self.model.dense.requires_grad_(True)
        loss = self._loss(window, negatives, rows.cpu().numpy(), local)
        loss.backward()  # type: ignore[no-untyped-call]
        self.model.dense.requires_grad_(False)
        assert local.grad is not None
        assert self.model.dense.grad is not None
        told = torch.tensor([float(loss.detach()), float(window.num_events), *map(float, flags)], device=device)
        packed = self.ranks.add_up(torch.cat([local.grad.view(-1), self.model.dense.grad.view(-1), told]))
        self.model.dense.grad = None
        of_table, of_dense, told = torch.split(packed, [local.numel(), self.model.dense.numel(), len(told)])
        total, events, *raised = told.tolist()
        if not math.isfinite(total):
            raise DataError(
                f"the loss is not a number any more (epoch {cursor.epoch + 1}, window {cursor.window + 1})",
                remedy="Lower the learning rate, or check numeric columns for extreme values.",
            )
        scale = 1.0 / (settings.num_lanes * settings.num_steps)
        self._table.rate = self._dense.rate = self._rate(plan)
        self._table.step_rows(rows, of_table.view_as(local) * scale)
        self._dense.step(of_dense * scale)
        cursor.window += 1
        cursor.step += 1
        cursor.events += int(events)
        cursor.epoch_events += int(events)
        cursor.epoch_loss += total
        if self._progress is not None:
            self._progress(int(events), f"loss {total / max(events, 1.0):.3f}")
        due, over, stop = (flag > 0 for flag in raised)
        return due, over, stop

    def _touched(self, window: Window, negatives: Negatives) -> Tensor:
        """Item rows of all ranks' windows and the negatives: rising, without repeats, the same on every rank."""
        items = self.ranks.gather(torch.from_numpy(window.items.reshape(-1)).to(self.ranks.device))
        both = torch.cat([items.view(-1), torch.from_numpy(negatives.item_rows).to(self.ranks.device)])
        rows: Tensor = torch.unique(both)
        return rows

    def _loss(self, window: Window, negatives: Negatives, rows: Rows, local: Tensor) -> Tensor:
        settings, device = self.settings, self.ranks.device
        width = local.shape[1] - 1
        place = np.searchsorted(rows, window.items)
        embedded = torch.nn.functional.embedding(torch.from_numpy(place).to(device), local)
        inputs = embedded[..., :width]
        if settings.input_dropout:
            inputs = self._dropped(inputs, settings.input_dropout, 1)
        starts = Starts.of(window.session_starts, window.user_starts, local)
        states, self._session, self._user = self.model.states(inputs, self._session, self._user, starts)
        if settings.state_dropout:
            states = self._dropped(states, settings.state_dropout, 2)
        targets = window.alive & ~window.session_starts if settings.within_session_only else window.alive
        negative_place = np.searchsorted(rows, negatives.item_rows)
        which = np.full(len(rows), -1, dtype=np.int64)
        which[negative_place] = np.arange(len(negative_place))
        hits = which[place].reshape(-1)
        queries = torch.cat([states.reshape(-1, width), states.new_ones(states.shape[0] * states.shape[1], 1)], dim=1)
        positives = embedded.view(-1, width + 1)
        if not targets.all():
            at = np.flatnonzero(targets.reshape(-1))
            kept = torch.from_numpy(at).to(device)
            queries, positives, hits = queries[kept], positives[kept], hits[at]
        return sampled_loss(
            settings.loss,
            queries,
            positives,
            torch.nn.functional.embedding(torch.from_numpy(negative_place).to(device), local),
            torch.from_numpy(negatives.log_weight).to(device),
            torch.from_numpy(hits).to(device),
        )

    def _dropped(self, values: Tensor, share: float, purpose: int) -> Tensor:
        """Inverted dropout, a function of (seed, step, rank, purpose), so that a resumed run drops the same numbers."""
        words = np.random.SeedSequence([self.settings.seed, self._cursor.step, self.ranks.rank, purpose]).generate_state(
            2, np.uint32
        )
        generator = torch.Generator(device=values.device).manual_seed(int(words[0]) << 32 | int(words[1]))
        kept = torch.empty_like(values).bernoulli_(1.0 - share, generator=generator)
        return values * kept.mul_(1.0 / (1.0 - share))

    def _rate(self, plan: LanePlan) -> float:
        done = self._cursor.epoch + self._cursor.window / plan.num_windows
        return self.settings.learning_rate * (1.0 - done / self.settings.epochs)

    def _end_epoch(self) -> None:
        cursor = self._cursor
        cursor.seconds = time.monotonic() - self._began
        validation = self._validate(self.model) if self._validate is not None and self.ranks.rank == 0 else None
        point = CurvePoint(
            step=cursor.step,
            epoch=cursor.epoch + 1,
            events=cursor.events,
            seconds=cursor.seconds,
            loss=cursor.epoch_loss / max(1, cursor.epoch_events),
            learning_rate=self._table.rate,
            validation=validation,
        )
        cursor.curve.append(asdict(point))
        cursor.epoch, cursor.window = cursor.epoch + 1, 0
        cursor.epoch_loss, cursor.epoch_events = 0.0, 0

    def _save(self) -> None:
        if self._store is None:
            return
        carried = self.ranks.gather(torch.stack([self._session, self._user]))
        if self.ranks.rank != 0:
            return
        self._cursor.seconds = time.monotonic() - self._began
        tensors = {"item_table": self.model.item_table, "dense": self.model.dense, "carried": carried}
        for name, optimiser in (("item_table", self._table), ("dense", self._dense)):
            tensors |= {f"{name}.{key}": value for key, value in optimiser.state().items()}
        document = {"identity": self._identity, "world_size": self.ranks.world_size, "cursor": asdict(self._cursor)}
        save_checkpoint(self._store, self._cursor.step, Checkpoint(tensors, document))

    def _resume(self) -> None:
        """Take up the newest checkpoint of the same training on as many ranks, the same one on every rank."""
        if self._store is None:
            return
        found = newest_checkpoint(self._store)
        usable = (
            found is not None
            and found.document["identity"] == self._identity
            and found.document["world_size"] == self.ranks.world_size
        )
        step = found.document["cursor"]["step"] if usable and found is not None else -1
        agreed = int(self.ranks.from_first(torch.tensor([step], device=self.ranks.device))[0])
        if agreed < 0:
            return
        if step != agreed:
            raise DataError(
                "a rank can't read the checkpoint that rank 0 goes on from",
                remedy="Run again; all nodes must reach the workspace.",
            )
        assert found is not None
        self.model.item_table.copy_(found.tensors["item_table"])
        self.model.dense.copy_(found.tensors["dense"])
        for name, optimiser in (("item_table", self._table), ("dense", self._dense)):
            prefix = f"{name}."
            optimiser.load_state(
                {key.removeprefix(prefix): value for key, value in found.tensors.items() if key.startswith(prefix)}
            )
        carried = found.tensors["carried"][self.ranks.rank]
        self._session.copy_(carried[0])
        self._user.copy_(carried[1])
        self._cursor = _Cursor(**found.document["cursor"])
