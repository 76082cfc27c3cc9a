"""Train a sequence model batch by batch, on one rank or many.

Each step: the ranks tell one another which items they hold, draw the same negatives, compute the loss of their own part of the
batch, add up the gradients (those of the touched item rows in one exchange, all others through DistributedDataParallel), and
move the parameters alike. Parameters stay bitwise equal on all ranks.
"""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hrnn.data.arrays import Rows
from hrnn.data.sequences import Sequences
from hrnn.models.contract import Batch, Batching, Carry, Phase, SequenceModel, one_phase
from hrnn.training.batching import BATCHINGS
from hrnn.training.checkpoints import Checkpoint, CheckpointStore, newest_checkpoint, save_checkpoint
from hrnn.training.distributed import Ranks
from hrnn.training.negatives import NegativeSampler
from hrnn.training.optimisers import OPTIMISERS, Optimiser
from hrnn.training.settings import CurvePoint, TrainingSettings
from hrnn.training.state import Best, Cursor, Flags
from hrnn.training.step import TrainingStep, with_targets
from schemas.errors import DataError

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=SequenceModel)

_ITEM_TABLE = "item_table"


class Stopped(Exception):
    """The training was asked to stop before its end; its checkpoint is written."""


class Trainer(Generic[Model]):
    """Trains one model; see the module's text.

    Args:
        model: Fresh parameters; changed in place.
        sequences: What to learn from, hidden events already truncated away.
        user_rows: int64, users to learn from.
        settings: How.
        phases: In turn; None: one, of all parameters in lanes.
        ranks: This process among the others.
        store: Where checkpoints go; None for none.
        identity: What the training is of; checkpoints of something else are left alone.
        event_weights: float32 [E], how much each stored event counts as a target; None: all alike.
        validate: Called on rank 0 after each epoch, gives what held-out events cost, for the curve and to stop by.
        progress: Called with (events done since the last call on all ranks, text).
        should_stop: Asked once a step; True ends the training with a checkpoint (SIGTERM).

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
        phases: Sequence[Phase] | None = None,
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
        self.phases = tuple(phases or one_phase(settings))
        self._store, self._identity = store, identity
        self._event_weights, self._validate = event_weights, validate
        self._progress, self._should_stop = progress, should_stop
        self._sampler = _sampler(sequences, settings)
        self._cursor, self._best = Cursor(), Best()
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
            while not cursor.finished:
                if cursor.phase_over or cursor.epoch - cursor.phase_began >= self._phase.epochs:
                    self._end_phase()
                else:
                    self._epoch()
            self._save()
        self._best.restore(self._parameters())
        self.model.requires_grad_(False)
        self.model = self.model.to(torch.device("cpu"))
        return [CurvePoint(**point) for point in cursor.curve]

    @property
    def _phase(self) -> Phase:
        return self.phases[self._cursor.phase]

    def _begin_phase(self) -> None:
        """Batches, optimisers and lanes of the cursor's phase, and gradients for what it trains."""
        phase = self._phase
        self._batching: Batching = BATCHINGS[phase.batching](self._sequences, self._user_rows, self.settings, self.ranks)
        self._carry = self._initial_carry()
        self._dense: dict[str, nn.Parameter] = {}
        for name, parameter in self.model.named_parameters():
            if name != _ITEM_TABLE:
                parameter.requires_grad_(phase.trains(name))
                self._dense |= {name: parameter} if phase.trains(name) else {}
        rates, made_by = phase.optimiser, OPTIMISERS[phase.optimiser.name]
        self._optimisers: dict[str, Optimiser] = {
            name: made_by(parameter, rates.item_rate if name == _ITEM_TABLE else rates.dense_rate, rates.momentum)
            for name, parameter in self._parameters().items()
            if phase.trains(name)
        }
        step = TrainingStep(self.model, self.settings)
        self._forward = self.ranks.data_parallel(step, f"model.{_ITEM_TABLE}") if self._dense else step

    def _end_phase(self) -> None:
        """Go on from the best parameters of a phase; after the last one all is finished."""
        cursor = self._cursor
        if cursor.phase + 1 == len(self.phases):
            cursor.finished = True
            return
        self._best.restore(self._parameters())
        self._best.forget()
        cursor.end_phase()
        del self._forward
        gc.collect()  # DistributedDataParallel's hooks on the parameters go with it
        self._begin_phase()

    def _epoch(self) -> None:
        """Train from the cursor to the end of its epoch, or until time is out."""
        cursor = self._cursor
        num_batches = self._batching.num_batches(cursor.epoch)
        if cursor.batch == 0:
            self._carry = self._initial_carry()
        while cursor.batch < num_batches and not cursor.finished:
            flags = self._step(self._flags())
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

    def _step(self, flags: Flags) -> Flags:
        """One batch: loss, gradients, exchange, update."""
        cursor, settings, device = self._cursor, self.settings, self.ranks.device
        batch = self._batch()
        mine = np.where(batch.alive, batch.items, -1).reshape(-1)
        items = self.ranks.gather(torch.from_numpy(mine).to(device)).view(-1)
        targets_of_all = items[items >= 0].cpu().numpy() if settings.in_batch_negatives else None
        negatives = self._sampler.draw(cursor.epoch, cursor.batch, targets_of_all)
        rows: Tensor = torch.unique(torch.cat([items.clamp(min=0), torch.from_numpy(negatives.item_rows).to(device)]))
        table = self.model.item_table.index_select(0, rows).requires_grad_(_ITEM_TABLE in self._optimisers)
        loss, self._carry = self._forward(table, rows.cpu().numpy(), batch, negatives, self._carry)
        loss.backward()
        targets = _targets(batch)
        facts = torch.tensor([loss.item(), targets, batch.num_events, *asdict(flags).values()], dtype=torch.float64)
        of_table, told = self._exchange(table, facts)
        total, answered, events, *raised = told
        if not math.isfinite(total):
            raise DataError(
                f"the loss is not a number any more (epoch {cursor.epoch + 1}, batch {cursor.batch + 1})",
                remedy="Train with another seed or loss; if it comes back, report the sequences' manifest.",
            )
        self._update(rows, of_table)
        cursor.batch += 1
        cursor.step += 1
        cursor.events += int(events)
        cursor.epoch_targets += answered
        cursor.epoch_loss += total
        if self._progress is not None:
            self._progress(int(events), f"loss {total / (answered or 1.0):.3f}")
        return Flags(*(flag > 0 for flag in raised))

    def _batch(self) -> Batch:
        """The cursor's batch, with its targets."""
        cursor, settings = self._cursor, self.settings
        batch = replace(
            self._batching.batch(cursor.epoch, cursor.batch), dropout_seed=(settings.seed, cursor.step, self.ranks.rank)
        )
        return with_targets(batch, self._event_weights, within_session_only=settings.within_session_only)

    def _exchange(self, table: Tensor, facts: Tensor) -> tuple[Tensor, list[float]]:
        """Gradients of the touched rows, and a few numbers, added up over the ranks in one go."""
        grad = torch.zeros_like(table) if table.grad is None else table.grad
        both = self.ranks.add_up(torch.cat([grad.view(-1), facts.to(table)]))
        of_table, told = torch.split(both, [grad.numel(), len(facts)])
        return of_table.view_as(table), told.tolist()

    def _left(self, batch: int) -> float:
        """Share of the phase's learning rates that is left for a batch of the epoch under way."""
        cursor = self._cursor
        done = cursor.epoch - cursor.phase_began + batch / self._batching.num_batches(cursor.epoch)
        return 1.0 - done / self._phase.epochs

    def _update(self, rows: Tensor, of_table: Tensor) -> None:
        """Sums over targets are divided by the nominal size of a batch, so that the last, smaller ones weigh less."""
        left, rates = self._left(self._cursor.batch), self._phase.optimiser
        scale = 1.0 / self._batching.nominal_targets
        if _ITEM_TABLE in self._optimisers:
            items = self._optimisers[_ITEM_TABLE]
            items.rate = rates.item_rate * left
            items.step_rows(rows, of_table * scale)
        for name, parameter in self._dense.items():
            assert parameter.grad is not None
            optimiser = self._optimisers[name]
            optimiser.rate = rates.dense_rate * left
            optimiser.step(parameter.grad * scale)
            parameter.grad = None

    def _end_epoch(self) -> None:
        cursor = self._cursor
        cursor.seconds = time.monotonic() - self._began
        rate = self._phase.optimiser.item_rate * self._left(cursor.batch - 1)
        if cursor.end_epoch(rate, self._validated(), self.settings.patience):
            self._best.keep(self._parameters())

    def _validated(self) -> float | None:
        """Rank 0's number on every rank, so that all stop together."""
        if self._validate is None:
            return None
        with torch.no_grad():
            found = self._validate(self.model) if self.ranks.rank == 0 else None
        told = torch.tensor([math.nan if found is None else found], dtype=torch.float64, device=self.ranks.device)
        agreed = float(self.ranks.from_first(told)[0])
        return None if math.isnan(agreed) else agreed

    @property
    def best_epoch(self) -> int:
        """The epoch whose parameters the model holds after `run`: the best, or the last one done."""
        return self._cursor.best_epoch or self._cursor.epoch

    def _parameters(self) -> dict[str, Tensor]:
        return dict(self.model.named_parameters())

    def _initial_carry(self) -> Carry:
        carry = self.model.initial_carry(self._batching.num_lanes)
        return {name: values.to(self.model.item_table) for name, values in carry.items()}

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._store is None:
            return
        carried = {name: self.ranks.gather(values) for name, values in sorted(self._carry.items())}
        if self.ranks.rank != 0:
            return
        self._cursor.seconds = time.monotonic() - self._began
        tensors = self._parameters()
        tensors |= {f"carry.{name}": values.transpose(0, 1).flatten(0, 1) for name, values in carried.items()}
        tensors |= {f"best.{name}": value for name, value in self._best.tensors.items()}
        for name, optimiser in self._optimisers.items():
            tensors |= {f"optimiser.{name}.{key}": value for key, value in optimiser.state().items()}
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
        """Stand where the newest checkpoint says, or at the beginning."""
        found = self._agreed_checkpoint()
        if found is None:
            self._begin_phase()
            return
        self._cursor = Cursor(**found.document["cursor"])
        self._begin_phase()
        self._load(found)
        before, now = found.document["world_size"], self.ranks.world_size
        if before != now and self.ranks.rank == 0:
            logger.warning(
                "going on with %d ranks after batch %d, which %d had trained: nothing learnt is lost, but the result will not "
                "be that of either number alone, bit for bit",
                *(now, self._cursor.step, before),
            )

    def _agreed_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint that rank 0 can read; None where there is none."""
        if self._store is None:
            return None
        found = newest_checkpoint(self._store, self._identity)
        step = found.document["cursor"]["step"] if found is not None else -1
        agreed = int(self.ranks.from_first(torch.tensor([step], device=self.ranks.device))[0])
        if agreed < 0:
            return None
        if found is None or step != agreed:
            raise DataError(
                "a rank can't read the checkpoint that rank 0 goes on from", remedy="Let every node reach the workspace."
            )
        return found

    @torch.no_grad()
    def _load(self, found: Checkpoint) -> None:
        for name, parameter in self._parameters().items():
            parameter.copy_(found.tensors[name])
        for name, optimiser in self._optimisers.items():
            optimiser.load_state(found.under(f"optimiser.{name}"))
        self._best.keep(found.under("best"))
        for name, carried in found.under("carry").items():
            mine = carried[self.ranks.rank :: self.ranks.world_size][: len(self._carry[name])]
            self._carry[name][: len(mine)].copy_(mine)


def _targets(batch: Batch) -> float:
    """How much the targets count together: how many there are, where all count alike."""
    if batch.weights is not None:
        return float(torch.from_numpy(batch.weights).sum())
    return float(batch.alive.size if batch.target_places is None else len(batch.target_places))


def _sampler(sequences: Sequences, settings: TrainingSettings) -> NegativeSampler:
    counts = sequences.item_counts()
    seen = int((counts > 0).sum())
    if seen < 2:
        raise DataError("there are fewer than two items to learn from", value=seen, remedy="Bring more interactions.")
    draws = seen if seen <= settings.exact_below else settings.num_negatives
    return NegativeSampler(counts, alpha=settings.alpha, num_samples=draws, seed=settings.seed)
