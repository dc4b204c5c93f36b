"""From a source of frames to batches: shuffled, augmented, read by threads, seekable to any step.

A source is anything with `len(source)` and `source[i]`, so a `tfds.data_source` is one; with `record_name(i)` and
`remedy` it can say in error messages what a record is and how to mend it. Batch k of a training pipeline is a function
of (source, seed, k) alone: it does not depend on the number of threads or on where reading began, and the processes of
several hosts share it, each with its part of the rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import grain
import jax
import numpy as np

from pixlab.errors import UserError

Example = dict[str, np.ndarray | np.generic]
WEIGHT = "weight"  # 1 for a real example of an evaluation batch, 0 for one that only fills the last batch; see `alone`


@runtime_checkable
class Source(Protocol):
    """Frames by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Split:
    """A source with the transform that makes it an example: `augment(frame, rng)` for training, or `map(frame)`.

    `alone` is for examples of different sizes: each is an evaluation batch of its own, which has no `weight`.
    """

    source: Source
    map: Callable[[Any], Example]
    augment: Callable[[Any, np.random.Generator], Example] | None = None
    alone: bool = False

    def example(self, index: int) -> Example:
        """Example `index`, unaugmented. What UserError says of it begins with the record's name, if it has one."""
        frame = Readable(self.source)[index]
        try:
            return self.map(frame)
        except UserError as error:
            named = getattr(self.source, "record_name", None)
            raise UserError(f"{named(index)}: {error}" if named else str(error)) from None


@dataclasses.dataclass(frozen=True)
class Data:
    """What a recipe is trained and scored on: global batch size and named splits, of which "train" is trained on."""

    batch: int
    splits: Mapping[str, Split]
    workers: int = 4  # threads that read and augment


def train_batches(data: Data, *, seed: int, start: int) -> Iterator[Example]:
    """Endless global batches of the split "train" from batch number `start` on, as this process's share of each."""
    split, (process, processes) = data.splits["train"], (jax.process_index(), jax.process_count())
    endless = 2**50 // max(1, len(split.source))  # epochs: what grain takes for endless is too long for batches of one
    examples = grain.MapDataset.source(Readable(split.source)).seed(seed).shuffle().repeat(endless)
    if split.augment is None:
        examples = examples.map(split.map)
    else:
        examples = examples.random_map(split.augment)
    if processes > 1:
        examples = grain.MapDataset.source(Share(examples, data.batch, process, processes))
    batches = examples.batch(data.batch // processes)
    iterator = iter(batches.to_iter_dataset(_read_options(data.workers)))
    iterator.set_state({"next_index": start})
    return iterator


def eval_batches(data: Data, name: str) -> Iterator[Example]:
    """The split in order, once, in batches of `data.batch`; what fills the last one has `weight` 0.

    Of a split whose examples stand `alone`, batches of one, without `weight`, each whole on every host.
    """
    split, (process, processes) = data.splits[name], (jax.process_index(), jax.process_count())
    count = len(split.source)
    if split.alone:
        ones = grain.MapDataset.source(range(count)).map(split.example).batch(1)
        return iter(ones.to_iter_dataset(_read_options(data.workers)))

    def example(row: int) -> Example:
        return {**split.example(min(row, count - 1)), WEIGHT: np.float32(row < count)}

    rows = Share(range(-(-count // data.batch) * data.batch), data.batch, process, processes)
    batches = grain.MapDataset.source(rows).map(example).batch(data.batch // processes)
    return iter(batches.to_iter_dataset(_read_options(data.workers)))


def examples(split: Split, step: int = 1) -> Iterator[Example]:
    """Every `step`-th example of the split, unaugmented, in order, one by one."""
    return (split.example(i) for i in range(0, len(split.source), step))


class Share:
    """The rows of global batches that belong to one of several processes: of each batch one run of rows, in order."""

    def __init__(self, rows: Source, batch: int, process: int, processes: int):
        self._rows, self._batch, self._processes = rows, batch, processes
        self._local, self._first = batch // processes, process * (batch // processes)

    def __len__(self) -> int:
        return len(self._rows) // self._processes

    def __getitem__(self, index: int) -> Any:
        return self._rows[index // self._local * self._batch + self._first + index % self._local]


class Readable:
    """A source whose records that cannot be read raise UserError with the record's number."""

    def __init__(self, source: Source):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Any:
        try:
            return self._source[index]
        except UserError:
            raise
        except Exception as error:  # whatever the reader of a damaged file raises
            named = getattr(self._source, "record_name", lambda i: f"record {i} of the {type(self._source).__name__}")
            reason = (str(error).splitlines() or [repr(error)])[0][:150]
            remedy = getattr(self._source, "remedy", "prepare the data again")
            raise UserError(f"{named(index)} cannot be read ({reason}); {remedy}") from error


def _read_options(workers: int) -> grain.ReadOptions:
    return grain.ReadOptions(num_threads=workers, prefetch_buffer_size=max(2, workers))
