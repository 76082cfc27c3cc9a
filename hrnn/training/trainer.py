"""Training loop of sequence models, on one rank or many.

Each step: the ranks gather the items of their parts of the batch, draw the same negatives, compute the loss of their own part,
sum the gradients (those of touched item rows in one all-reduce, all others through DistributedDataParallel), and make the same
update. Parameters stay bitwise equal on all ranks.
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
import torch
from torch import Tensor, nn

from hrnn.models.contract import Batch, Batching, Carry, Phase, SequenceModel, one_phase
from hrnn.training.batching import BATCHINGS
from hrnn.training.checkpoints import Checkpoint, CheckpointStore, newest_checkpoint, save_checkpoint
from hrnn.training.distributed import Ranks
from hrnn.training.negatives import NegativeSampler
from hrnn.training.optimisers import OPTIMISERS, Optimiser
from hrnn.training.parts import TrainingPart
from hrnn.training.settings import CurvePoint, TrainingSettings
from hrnn.training.state import Best, Cursor, Flags
from hrnn.training.step import TrainingStep, with_targets
from schemas.errors import DataError

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=SequenceModel)

_ITEM_TABLE = "item_table"


class Stopped(Exception):
    """The training was stopped before its end; its checkpoint is written."""


class Trainer(Generic[Model]):
    """Trains one model; see the module's text.

    Attributes:
        kept: Parameters at the end of each part that is to be kept, by the part's name, on the CPU.

    Args:
        model: With initial parameters; trained in place.
        parts: What is learnt from, one part after the other, each by all phases; all are of the same items.
        settings: Of the training.
        phases: One after the other; None: one phase, of all parameters in lanes.
        ranks: The process group; None: this process alone.
        store: Of checkpoints; None for none.
        identity: Fingerprint of the training; checkpoints of others are left alone.
        heldout_loss: Called on rank 0 after each epoch of a part that is measured, for the curve and for early stopping.
        progress: Called with (events done since the last call on all ranks, text).
        should_stop: Called once a step; True ends the training with a checkpoint (SIGTERM).

    Raises:
        DataError: There are fewer than two items to learn from.
    """

    def __init__(
        self,
        model: Model,
        parts: Sequence[TrainingPart],
        settings: TrainingSettings,
        *,
        phases: Sequence[Phase] | None = None,
        ranks: Ranks | None = None,
        store: CheckpointStore | None = None,
        identity: str = "",
        heldout_loss: Callable[[Model], float | None] | None = None,
        progress: Callable[[int, str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.ranks = ranks or Ranks.alone()
        self.model = model.to(self.ranks.device)
        self.settings, self.parts = settings, tuple(parts)
        self.phases = tuple(phases or one_phase(settings))
        self.kept: dict[str, dict[str, Tensor]] = {}
        self._store, self._identity = store, identity
        self._heldout_loss, self._progress, self._should_stop = heldout_loss, progress, should_stop
        _sampler(self.parts[:1], settings)  # raises where there is too little
        self._cursor, self._best = Cursor(), Best()
        self._began = self._saved = time.monotonic()
        self._resumed = False

    def run(self) -> list[CurvePoint]:
        """Train to the end, from the newest checkpoint if there is one; returns one point an epoch.

        In the end the model holds the parameters with the lowest held-out loss, or the last ones where none is computed, and is
        on the CPU, wherever it was trained.

        Raises:
            DataError: The loss is not a number.
            Stopped: `should_stop` said so; a checkpoint is written.
        """
        self.resume()
        cursor = self._cursor
        # As if it had begun so much earlier: time limit and curve count the time of all runs, interruptions left out.
        self._began, self._saved = time.monotonic() - cursor.seconds, time.monotonic()
        if not cursor.finished:
            while not cursor.finished:
                if cursor.phase_over or cursor.epoch - cursor.phase_began >= self._epochs:
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
        return self.phases[self._cursor.phase % len(self.phases)]

    @property
    def _part(self) -> TrainingPart:
        return self.parts[self._cursor.phase // len(self.phases)]

    @property
    def _epochs(self) -> int:
        """Of the current phase of the current part, at most."""
        return self._phase.epochs if self._part.epochs is None else self._part.epochs

    def _begin_phase(self) -> None:
        """Set up batching, optimisers and carry of the cursor's phase, and gradients for the parameters that it trains."""
        phase, part = self._phase, self._part
        self._sampler = _sampler(self.parts[: self._cursor.phase // len(self.phases) + 1], self.settings)
        self._batching: Batching = BATCHINGS[phase.batching](part.sequences, part.user_rows, self.settings, self.ranks)
        self._carry, self._limit = self._initial_carry(), self._seconds_allowed()
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
        # DistributedDataParallel refuses a module of which it has nothing to exchange.
        self._forward = self.ranks.data_parallel(step, f"model.{_ITEM_TABLE}") if self._dense else step

    def _end_phase(self) -> None:
        """Begin the next phase from the best parameters of this one; after the last one the training is finished."""
        cursor = self._cursor
        self._best.restore(self._parameters())
        if self._part.keep and cursor.phase % len(self.phases) == len(self.phases) - 1:
            self.kept[self._part.name] = {name: value.detach().cpu().clone() for name, value in self._parameters().items()}
        if cursor.phase + 1 == len(self.phases) * len(self.parts):
            cursor.finished = True
            return
        self._best.forget()
        cursor.end_phase()
        if cursor.phase % len(self.phases) == 0 and self._part.starts_from is not None:
            self._restore_kept(self._part.starts_from)
        del self._forward
        gc.collect()  # DistributedDataParallel's hooks on the parameters go with it
        self._begin_phase()

    @torch.no_grad()
    def _restore_kept(self, part: str) -> None:
        for name, value in self.kept[part].items():
            self._parameters()[name].copy_(value)

    def _epoch(self) -> None:
        """Train from the cursor to the end of its epoch, or to the time limit."""
        cursor = self._cursor
        if self._part.num_events == 0:  # nothing happened between two moments
            cursor.phase_over = True
            return
        num_batches = self._batching.num_batches(cursor.epoch)
        if cursor.batch == 0:  # else the carry is that of a checkpoint
            self._carry = self._initial_carry()
        while cursor.batch < num_batches and not cursor.phase_over:
            flags = self._step(self._flags())
            cursor.phase_over = flags.out_of_time
            if flags.checkpoint or flags.stop:
                self._save()
            if flags.stop:
                raise Stopped
        self._end_epoch()

    def _flags(self) -> Flags:
        """This rank's control flags for the next step."""
        now, limit = time.monotonic(), self._limit
        return Flags(
            checkpoint=now - self._saved >= self.settings.checkpoint_seconds,
            out_of_time=limit is not None and now - self._began >= limit,
            stop=self._should_stop is not None and self._should_stop(),
        )

    def _seconds_allowed(self) -> float | None:
        """Since the start, until the end of the current phase: each has the share of the limit that its events are of all."""
        if self.settings.time_limit_seconds is None:
            return None
        work = [part.num_events * (part.epochs or phase.epochs) for part in self.parts for phase in self.phases]
        return self.settings.time_limit_seconds * sum(work[: self._cursor.phase + 1]) / max(1, sum(work))

    def _step(self, flags: Flags) -> Flags:
        """One training step: loss, gradients, all-reduce, update; returns the flags of all ranks."""
        cursor, settings, device = self._cursor, self.settings, self.ranks.device
        batch = self._batch()
        # All ranks touch the same rows of the item table: the items of all of them, and the negatives.
        own_items = np.where(batch.alive, batch.items, -1).reshape(-1)
        items = self.ranks.gather(torch.from_numpy(own_items).to(device)).view(-1)
        targets_of_all = items[items >= 0].cpu().numpy() if settings.in_batch_negatives else None
        negatives = self._sampler.draw(cursor.epoch, cursor.batch, targets_of_all)
        # The loss reads a compact copy of the touched rows, so that its gradient is as small, and is summed in one exchange.
        # Item 0 is among them where there are dead places, which read it.
        rows: Tensor = torch.unique(torch.cat([items.clamp(min=0), torch.from_numpy(negatives.item_rows).to(device)]))
        table = self.model.item_table.index_select(0, rows).requires_grad_(_ITEM_TABLE in self._optimisers)
        loss, self._carry = self._forward(table, rows.cpu().numpy(), batch, negatives, self._carry)
        loss.backward()
        targets = _targets(batch)
        counters = torch.tensor([loss.item(), targets, batch.num_events, *asdict(flags).values()], dtype=torch.float64)
        table_grad, sums = self._all_reduce(table, counters)
        total_loss, total_targets, events, *flag_counts = sums
        # Flags were summed with the loss: raised on one rank, they are seen by all in the same step, and no rank waits in vain.
        if not math.isfinite(total_loss):
            raise DataError(
                f"the loss is not a number any more (epoch {cursor.epoch + 1}, batch {cursor.batch + 1})",
                remedy="Train with another seed or loss; if it comes back, report the sequences' manifest.",
            )
        self._update(rows, table_grad)
        cursor.batch += 1
        cursor.step += 1
        cursor.events += int(events)
        cursor.epoch_targets += total_targets
        cursor.epoch_loss += total_loss
        if self._progress is not None:
            self._progress(int(events), f"loss {total_loss / (total_targets or 1.0):.3f}")
        return Flags(*(count > 0 for count in flag_counts))

    def _batch(self) -> Batch:
        """The cursor's batch, with its targets."""
        cursor, settings = self._cursor, self.settings
        batch = replace(
            self._batching.batch(cursor.epoch, cursor.batch), dropout_seed=(settings.seed, cursor.step, self.ranks.rank)
        )
        return with_targets(batch, self._part.event_weights, within_session_only=settings.within_session_only)

    def _all_reduce(self, table: Tensor, counters: Tensor) -> tuple[Tensor, list[float]]:
        """Gradients of the touched rows and a few counters, summed over the ranks in one collective."""
        grad = torch.zeros_like(table) if table.grad is None else table.grad
        buffer = self.ranks.add_up(torch.cat([grad.view(-1), counters.to(table)]))
        table_grad, sums = torch.split(buffer, [grad.numel(), len(counters)])
        return table_grad.view_as(table), sums.tolist()

    def _decay(self, batch: int) -> float:
        """Factor of the learning rates for a batch of the current epoch: linear decay from 1 to 0 over the phase."""
        cursor = self._cursor
        done = cursor.epoch - cursor.phase_began + batch / self._batching.num_batches(cursor.epoch)
        return 1.0 - done / self._epochs

    def _update(self, rows: Tensor, table_grad: Tensor) -> None:
        """Optimiser step. Gradients are divided by the nominal size of a batch, so that the last, smaller ones weigh less."""
        decay, rates = self._decay(self._cursor.batch), self._phase.optimiser
        scale = 1.0 / self._batching.nominal_targets
        if _ITEM_TABLE in self._optimisers:
            items = self._optimisers[_ITEM_TABLE]
            items.rate = rates.item_rate * decay
            items.step_rows(rows, table_grad * scale)
        for name, parameter in self._dense.items():
            assert parameter.grad is not None
            optimiser = self._optimisers[name]
            optimiser.rate = rates.dense_rate * decay
            optimiser.step(parameter.grad * scale)
            parameter.grad = None

    def _end_epoch(self) -> None:
        """Add the epoch to the curve, and keep its parameters if they are the best."""
        cursor = self._cursor
        cursor.seconds = time.monotonic() - self._began
        rate = self._phase.optimiser.item_rate * self._decay(cursor.batch - 1)
        if cursor.end_epoch(rate, self._agreed_heldout_loss(), self.settings.patience):
            self._best.keep(self._parameters())

    def _agreed_heldout_loss(self) -> float | None:
        """Rank 0's held-out loss on every rank, so that all stop together."""
        if self._heldout_loss is None or not self._part.measured:
            return None
        with torch.no_grad():
            loss = self._heldout_loss(self.model) if self.ranks.rank == 0 else None
        # NaN stands for "none", which a number that is sent can't say.
        shared = torch.tensor([math.nan if loss is None else loss], dtype=torch.float64, device=self.ranks.device)
        agreed = float(self.ranks.from_first(shared)[0])
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
        """Write a checkpoint, on rank 0 with the carry of all ranks."""
        self._saved = time.monotonic()
        if self._store is None:
            return
        # All ranks gather, in one order of names, before all but the first leave: a collective waits for everybody.
        carried = {name: self.ranks.gather(values) for name, values in sorted(self._carry.items())}  # [world_size, B, …]
        if self.ranks.rank != 0:
            return
        self._cursor.seconds = time.monotonic() - self._began
        # Lane l of rank r is lane l · world_size + r of all: transposed, their order is that of any number of ranks.
        tensors = self._parameters()
        tensors |= {f"carry.{name}": values.transpose(0, 1).flatten(0, 1) for name, values in carried.items()}
        tensors |= {f"best.{name}": value for name, value in self._best.tensors.items()}
        for part, parameters in self.kept.items():
            tensors |= {f"kept.{part}.{name}": value for name, value in parameters.items()}
        for name, optimiser in self._optimisers.items():
            tensors |= {f"optimiser.{name}.{key}": value for key, value in optimiser.state().items()}
        document = {"world_size": self.ranks.world_size, "cursor": asdict(self._cursor)}
        save_checkpoint(self._store, self._identity, self._cursor.step, Checkpoint(tensors, document))

    def resume(self) -> int:
        """Resume from the newest checkpoint of this training, the same one on every rank.

        It may be of another number of ranks: parameters, optimisers, the place in the epoch and the carry go on; only the bits
        will not be those of an uninterrupted training, and a warning says so. All ranks call it; `run` does where nobody has.

        Returns:
            Events done before.

        Raises:
            DataError: A rank can't read the checkpoint that rank 0 goes on from.
        """
        if not self._resumed:
            self._resumed = True
            self._restore()
        return self._cursor.events

    def _restore(self) -> None:
        """Begin at the newest checkpoint, or at the start."""
        checkpoint = self._agreed_checkpoint()
        if checkpoint is None:
            self._begin_phase()
            return
        self._cursor = Cursor(**checkpoint.document["cursor"])
        self._begin_phase()
        self._load(checkpoint)
        before, now = checkpoint.document["world_size"], self.ranks.world_size
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
        checkpoint = newest_checkpoint(self._store, self._identity)
        step = checkpoint.document["cursor"]["step"] if checkpoint is not None else -1
        agreed = int(self.ranks.from_first(torch.tensor([step], device=self.ranks.device))[0])
        if agreed < 0:
            return None
        if checkpoint is None or step != agreed:
            raise DataError(
                "a rank can't read the checkpoint that rank 0 goes on from", remedy="Let every node reach the workspace."
            )
        return checkpoint

    @torch.no_grad()
    def _load(self, checkpoint: Checkpoint) -> None:
        """Copy parameters, optimisers, best parameters and this rank's carry from a checkpoint."""
        for name, parameter in self._parameters().items():
            parameter.copy_(checkpoint.tensors[name])
        for name, optimiser in self._optimisers.items():
            optimiser.load_state(checkpoint.under(f"optimiser.{name}"))
        self._best.keep(checkpoint.under("best"))
        kept = {part.name: checkpoint.under(f"kept.{part.name}") for part in self.parts}
        self.kept = {name: parameters for name, parameters in kept.items() if parameters}
        for name, carried in checkpoint.under("carry").items():
            # Another number of ranks may have had more empty lanes at the end, or fewer.
            own_lanes = carried[self.ranks.rank :: self.ranks.world_size][: len(self._carry[name])]
            self._carry[name][: len(own_lanes)].copy_(own_lanes)


def _targets(batch: Batch) -> float:
    """Sum of the targets' weights; their number where all count alike."""
    if batch.weights is not None:
        return float(torch.from_numpy(batch.weights).sum())
    return float(batch.alive.size if batch.target_places is None else len(batch.target_places))


def _sampler(parts: Sequence[TrainingPart], settings: TrainingSettings) -> NegativeSampler:
    """Negative sampler over the events of all parts so far.

    Raises:
        DataError: There are fewer than two items with events.
    """
    counts = np.sum([part.sequences.item_counts() for part in parts], axis=0)
    num_items = int((counts > 0).sum())
    if num_items < 2:
        raise DataError("there are fewer than two items to learn from", value=num_items, remedy="Bring more interactions.")
    draws = num_items if num_items <= settings.exact_below else settings.num_negatives
    return NegativeSampler(counts, alpha=settings.alpha, num_samples=draws, seed=settings.seed)
