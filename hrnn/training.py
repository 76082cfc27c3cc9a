"""Train a session model window by window, on one rank or many.

Each window: the ranks tell one another which items they hold, draw the same negatives, compute the loss of their own lanes, add
up the gradients of the touched item rows and of all other parameters in one exchange, and take the same step. Parameters stay
bitwise equal on all ranks.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hrnn.batching import LanePlan, Window, lanes_a_rank
from hrnn.checkpoints import Checkpoint, CheckpointStore, newest_checkpoint, save_checkpoint
from hrnn.data.arrays import Rows
from hrnn.distributed import Ranks
from hrnn.negatives import NegativeSampler
from hrnn.optimiser import Adagrad
from hrnn.sequences import Sequences
from hrnn.training_settings import CurvePoint, TrainingSettings
from hrnn.training_state import Best, Cursor, Flags
from hrnn.window_loss import Lanes, TrainableModel, window_loss
from schemas.errors import DataError

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=TrainableModel)


class Stopped(Exception):
    """The training was asked to stop before its end; its checkpoint is written."""


class Trainer(Generic[Model]):
    """Trains one model; see the module's text.

    Args:
        model: Fresh parameters; changed in place.
        sequences: What to learn from, hidden events already truncated away.
        user_rows: int64, users to learn from.
        settings: How.
        ranks: This process among the others.
        store: Where checkpoints go; None for none.
        identity: What the training is of; checkpoints of something else are left alone.
        event_weights: float32 [E], how much each stored event counts as a target; None: all alike.
        validate: Called on rank 0 after each epoch, gives what held-out events cost, for the curve and to stop by.
        progress: Called with (events done since the last call on all ranks, text).
        should_stop: Asked once a window; True ends the training with a checkpoint (SIGTERM).

    Raises:
        DataError: There are fewer than two items to learn from.
    """

    def __init__(
        self,
        model: Model,
        sequences: Sequences,
        user_rows: Rows,
        settings: TrainingSettings,
        *,
        ranks: Ranks | None = None,
        store: CheckpointStore | None = None,
        identity: str = "",
        event_weights: npt.NDArray[np.float32] | None = None,
        validate: Callable[[Model], float | None] | None = None,
        progress: Callable[[int, str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.ranks = ranks or Ranks.alone()
        self.model = model.to(self.ranks.device)
        self.settings, self._sequences, self._user_rows = settings, sequences, user_rows
        self._store, self._identity = store, identity
        self._event_weights, self._validate = event_weights, validate
        self._progress, self._should_stop = progress, should_stop
        self._sampler = _sampler(sequences, settings)
        self._optimisers = {
            "item_table": Adagrad(self.model.item_table, settings.item_rate, settings.momentum),
            "dense": Adagrad(self.model.dense, settings.dense_rate, settings.momentum),
        }
        self._cursor, self._best = Cursor(), Best()
        self._lanes = Lanes(lanes_a_rank(settings.num_lanes, self.ranks.world_size), self.model.item_table)
        self._began = self._saved = time.monotonic()
        self._resumed = False

    def run(self) -> list[CurvePoint]:
        """Train to the end, from the newest checkpoint if there is one; returns one point an epoch.

        In the end the model holds the parameters that validation liked best, or the last ones where nothing validates, and
        lies on the CPU, wherever it was trained: nobody who takes it asks for its device.

        Raises:
            DataError: The loss is not a number.
            Stopped: `should_stop` said so; a checkpoint is written.
        """
        self.resume()
        cursor = self._cursor
        self._began, self._saved = time.monotonic() - cursor.seconds, time.monotonic()
        if not cursor.finished:
            while cursor.epoch < self.settings.epochs and not cursor.finished:
                self._epoch()
            cursor.finished = True
            self._save()
        self._best.restore(self._parameters())
        self.model = self.model.to(torch.device("cpu"))
        return [CurvePoint(**point) for point in cursor.curve]

    def _epoch(self) -> None:
        """Train from the cursor to the end of its epoch, or until time is out."""
        cursor, settings = self._cursor, self.settings
        plan = LanePlan(
            self._sequences,
            self._user_rows,
            settings.num_lanes,
            settings.num_steps,
            seed=settings.seed,
            epoch=cursor.epoch,
            rank=self.ranks.rank,
            world_size=self.ranks.world_size,
        )
        if cursor.window == 0:
            self._lanes.clear()
        while cursor.window < plan.num_windows and not cursor.finished:
            flags = self._step(plan, self._flags())
            cursor.finished = flags.out_of_time
            if flags.checkpoint or flags.stop:
                self._save()
            if flags.stop:
                raise Stopped
        self._end_epoch()

    def _flags(self) -> Flags:
        now, limit = time.monotonic(), self.settings.time_limit_seconds
        return Flags(
            checkpoint=now - self._saved >= self.settings.checkpoint_seconds,
            out_of_time=limit is not None and now - self._began >= limit,
            stop=self._should_stop is not None and self._should_stop(),
        )

    def _step(self, plan: LanePlan, flags: Flags) -> Flags:
        """One window: loss, gradients, exchange, update."""
        cursor, settings, device = self._cursor, self.settings, self.ranks.device
        window = self._window(plan)
        mine = np.where(window.alive, window.items, -1).reshape(-1)
        items = self.ranks.gather(torch.from_numpy(mine).to(device)).view(-1)
        targets_of_all = items[items >= 0].cpu().numpy() if settings.in_batch_negatives else None
        negatives = self._sampler.draw(cursor.epoch, cursor.window, targets_of_all)
        rows: Tensor = torch.unique(torch.cat([items.clamp(min=0), torch.from_numpy(negatives.item_rows).to(device)]))
        table = self.model.item_table.index_select(0, rows).requires_grad_()
        self.model.dense.requires_grad_(True)
        dropout = (settings.seed, cursor.step, self.ranks.rank)
        loss, targets = window_loss(self.model, self._lanes, window, negatives, rows.cpu().numpy(), table, settings, dropout)
        loss.backward()  # type: ignore[no-untyped-call]
        self.model.dense.requires_grad_(False)
        facts = [loss.item(), targets, window.num_events, *asdict(flags).values()]
        of_table, of_dense, told = self._exchange(table, torch.tensor(facts, dtype=torch.float64))
        total, answered, events, *raised = told
        if not math.isfinite(total):
            raise DataError(
                f"the loss is not a number any more (epoch {cursor.epoch + 1}, window {cursor.window + 1})",
                remedy="Train with another seed or loss; if it comes back, report the sequences' manifest.",
            )
        self._update(plan, rows, of_table, of_dense)
        cursor.window += 1
        cursor.step += 1
        cursor.events += int(events)
        cursor.epoch_targets += answered
        cursor.epoch_loss += total
        if self._progress is not None:
            self._progress(int(events), f"loss {total / (answered or 1.0):.3f}")
        return Flags(*(flag > 0 for flag in raised))

    def _window(self, plan: LanePlan) -> Window:
        """The cursor's window, with weights and contexts of its events."""
        window = plan.window(self._cursor.window)
        if self._event_weights is not None:
            window = replace(window, weights=np.where(window.alive, self._event_weights[window.positions], np.float32(0.0)))
        return replace(window, context=self.model.context.codes(self._sequences, window.positions, window.user_starts))

    def _exchange(self, table: Tensor, told: Tensor) -> tuple[Tensor, Tensor, list[float]]:
        """Gradients of table and dense parameters, and a few numbers, added up over the ranks in one go."""
        dense = self.model.dense
        assert table.grad is not None
        assert dense.grad is not None
        parts = [table.grad.view(-1), dense.grad.view(-1), told.to(table)]
        of_table, of_dense, told = torch.split(self.ranks.add_up(torch.cat(parts)), [len(part) for part in parts])
        dense.grad = None
        return of_table.view_as(table), of_dense, told.tolist()

    def _left(self, plan: LanePlan) -> float:
        """Share of the learning rates that is left."""
        return 1.0 - (self._cursor.epoch + self._cursor.window / plan.num_windows) / self.settings.epochs

    def _update(self, plan: LanePlan, rows: Tensor, of_table: Tensor, of_dense: Tensor) -> None:
        """Sums over targets are divided by the nominal size of a window, so that the last, smaller ones weigh less."""
        settings, left = self.settings, self._left(plan)
        items, dense = self._optimisers["item_table"], self._optimisers["dense"]
        items.rate, dense.rate = settings.item_rate * left, settings.dense_rate * left
        scale = 1.0 / (settings.num_lanes * settings.num_steps)
        items.step_rows(rows, of_table * scale)
        dense.step(of_dense * scale)

    def _end_epoch(self) -> None:
        self._cursor.seconds = time.monotonic() - self._began
        better = self._cursor.end_epoch(self._optimisers["item_table"].rate, self._validated(), self.settings.patience)
        if better:
            self._best.keep(self._parameters())

    def _validated(self) -> float | None:
        """Rank 0's number on every rank, so that all stop together."""
        if self._validate is None:
            return None
        found = self._validate(self.model) if self.ranks.rank == 0 else None
        told = torch.tensor([math.nan if found is None else found], dtype=torch.float64, device=self.ranks.device)
        agreed = float(self.ranks.from_first(told)[0])
        return None if math.isnan(agreed) else agreed

    @property
    def best_epoch(self) -> int:
        """The epoch whose parameters the model holds after `run`: the best, or the last one done."""
        return self._cursor.best_epoch or self._cursor.epoch

    def _parameters(self) -> dict[str, Tensor]:
        return {"item_table": self.model.item_table, "dense": self.model.dense}

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._store is None:
            return
        carried = self.ranks.gather(torch.stack([self._lanes.session, self._lanes.user], dim=1))
        if self.ranks.rank != 0:
            return
        self._cursor.seconds = time.monotonic() - self._began
        tensors = self._parameters() | {"carried": carried.transpose(0, 1).flatten(0, 1)[: self.settings.num_lanes]}
        tensors |= {f"best.{name}": value for name, value in self._best.tensors.items()}
        for name, optimiser in self._optimisers.items():
            tensors |= {f"{name}.{key}": value for key, value in optimiser.state().items()}
        document = {"world_size": self.ranks.world_size, "cursor": asdict(self._cursor)}
        save_checkpoint(self._store, self._identity, self._cursor.step, Checkpoint(tensors, document))

    def resume(self) -> int:
        """Take up the newest checkpoint of the same training, the same one on every rank.

        It may be of another number of ranks: parameters, optimisers, the place in the epoch and the lanes' states go on; only
        the bits will not be those of an uninterrupted training, and a warning says so. All ranks call it, and `run` does where
        nobody has.

        Returns:
            Events met before.

        Raises:
            StorageError: A rank can't read the checkpoint that rank 0 goes on from.
        """
        if not self._resumed:
            self._resumed = True
            self._take_up()
        return self._cursor.events

    def _take_up(self) -> None:
        if self._store is None:
            return
        found = newest_checkpoint(self._store, self._identity)
        step = found.document["cursor"]["step"] if found is not None else -1
        agreed = int(self.ranks.from_first(torch.tensor([step], device=self.ranks.device))[0])
        if agreed < 0:
            return
        if found is None or step != agreed:
            raise DataError(
                "a rank can't read the checkpoint that rank 0 goes on from", remedy="Let every node reach the workspace."
            )
        for name, parameter in self._parameters().items():
            parameter.copy_(found.tensors[name])
        for name, optimiser in self._optimisers.items():
            optimiser.load_state(found.under(name))
        self._best.keep(found.under("best"))
        mine = found.tensors["carried"][self.ranks.rank :: self.ranks.world_size]
        self._lanes.session[: len(mine)].copy_(mine[:, 0])
        self._lanes.user[: len(mine)].copy_(mine[:, 1])
        self._cursor = Cursor(**found.document["cursor"])
        before, now = found.document["world_size"], self.ranks.world_size
        if before != now and self.ranks.rank == 0:
            logger.warning(
                "going on with %d ranks after window %d, which %d had trained: nothing learnt is lost, but the result will not "
                "be that of either number alone, bit for bit",
                *(now, step, before),
            )


def _sampler(sequences: Sequences, settings: TrainingSettings) -> NegativeSampler:
    counts = sequences.item_counts()
    seen = int((counts > 0).sum())
    if seen < 2:
        raise DataError("there are fewer than two items to learn from", value=seen, remedy="Bring more interactions.")
    draws = seen if seen <= settings.exact_below else settings.num_negatives
    return NegativeSampler(counts, alpha=settings.alpha, num_samples=draws, seed=settings.seed)
