"""What a run says of photos: small ones together, large ones window by window."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from pixlab.core import Batch, eval_params
from pixlab.data.pipeline import Example
from pixlab.errors import UserError
from pixlab.mesh import share_batch
from pixlab.progress import Progress
from pixlab.run import Run
from pixlab.tiles import Tiles, put, windows
from pixlab.train import predict_after

Apply = Callable[[Batch], Batch]  # a batch of examples -> the batch's predictions


def predict(
    run: Run, photos: Iterable[np.ndarray], *, batch: int = 8, maps: bool = True, progress: bool = False
) -> Iterator[tuple[Batch, dict[str, Any]]]:
    """(prediction, pictures by suffix) for each uint8 photo [h,w,3], in their order, each taken when its turn comes.

    Photos go through the network `batch` at a time; where there are `tiles`, one for each device. One that is larger
    than a window of the experiment's `tiles` goes by itself, window by window; with `progress`, standard error says how
    far it is. Without `maps` predictions are {}: those of a large photo take several times the memory of its pictures.
    Raises UserError for what is no photo, and for experiments that do not say how to predict on photos.
    """
    experiment, config = run.experiment, run.config
    if experiment.photo is None or experiment.export is None:
        raise UserError(f"{experiment.name} does not say how to predict on photos")
    apply, tiles = _apply(run), experiment.tiles(config)
    batch = batch if tiles is None else run.mesh.size  # small photos are about as large as windows
    waiting: list[np.ndarray] = []
    for number, photo in enumerate(photos, 1):
        _check(photo)
        if tiles is not None and max(photo.shape[:2]) > tiles.size:
            yield from _in_one_piece(run, apply, waiting, maps)
            waiting = []
            yield _in_windows(run, apply, photo, tiles, maps, f"photo {number}" if progress else "")
            continue
        waiting.append(photo)
        if len(waiting) == batch:
            yield from _in_one_piece(run, apply, waiting, maps)
            waiting = []
    yield from _in_one_piece(run, apply, waiting, maps)


def _apply(run: Run) -> Apply:
    """The run's prediction for a batch of any size; devices share it where they divide it."""
    step, state = jax.jit(predict_after(run.recipe, int(run.state.step))), run.state

    def apply(batch: Batch) -> Batch:
        divided = len(next(iter(batch.values()))) % run.mesh.size == 0
        return step(eval_params(state), state.carry, share_batch(batch, run.mesh) if divided else batch)

    return apply


def _check(photo: Any) -> None:
    if not isinstance(photo, np.ndarray):
        raise UserError(f"a photo must be an array, not {photo!r}; pixlab.data.images.read_image reads one")
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise UserError(f"a photo must be uint8 [h, w, 3], not {photo.dtype} {list(photo.shape)}")


def _in_one_piece(run: Run, apply: Apply, photos: Sequence[np.ndarray], maps: bool) -> Iterator[tuple[Batch, dict]]:
    examples = [run.experiment.photo(run.config, photo) for photo in photos]
    for photo, prediction in zip(photos, _together(apply, examples), strict=True):
        yield prediction if maps else {}, run.experiment.export(run.config, photo, prediction)


def _in_windows(
    run: Run, apply: Apply, photo: np.ndarray, tiles: Tiles, maps: bool, name: str
) -> tuple[Batch, dict[str, np.ndarray]]:
    """The same for one photo in several windows, of which each device takes one at a time."""
    size = photo.shape[:2]
    places = windows(*size, tiles)
    together = run.mesh.size  # on a CPU more at once take more memory and no less time
    prediction, pictures = {}, {}
    with contextlib.closing(Progress(len(places), unit="window", counted="windows", active=bool(name))) as told:
        for start in range(0, len(places), together):
            some = places[start : start + together]
            views = [np.ascontiguousarray(photo[window.rows, window.columns]) for window in some]
            examples = [run.experiment.photo(run.config, view) for view in views]
            filled = [*examples, *examples[-1:] * (together - len(some))]
            for window, view, found in zip(some, views, _together(apply, filled), strict=False):
                if maps:
                    put(prediction, found, window, size, tiles.scale)
                put(pictures, run.experiment.export(run.config, view, found), window, size, tiles.scale)
            told.update(start + len(some), f"{name}, {size[1]}x{size[0]}", None, len(some))
    return prediction, pictures


def _together(apply: Apply, examples: Sequence[Example]) -> list[Batch]:
    """`apply` to examples as batches of those that have one shape; the predictions in the order of the examples."""
    groups: dict[tuple, list[int]] = {}
    for index, example in enumerate(examples):
        groups.setdefault(tuple((name, np.shape(x)) for name, x in example.items()), []).append(index)
    predictions: list[Batch] = [{}] * len(examples)
    for group in groups.values():
        out = jax.device_get(apply({name: np.stack([examples[i][name] for i in group]) for name in examples[group[0]]}))
        for row, index in enumerate(group):
            predictions[index] = {name: value[row] for name, value in out.items()}
    return predictions
