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
    far it is. Pictures are made of each window, or, where windows are of the network's input, once of the whole
    prediction. Without `maps` predictions are {}: those of a large photo take several times the memory of its pictures.
    Raises UserError for what is no photo, and for experiments that do not say how to predict on photos.
    """
    experiment, config = run.experiment, run.config
    if experiment.photo is None or experiment.export is None:
        raise UserError(f"{experiment.name} does not say how to predict on photos")
    apply, tiles = _apply(run), experiment.tiles(config)
    batch = batch if tiles is None else run.mesh.size  # small photos are about as large as windows
    waiting: list[tuple[np.ndarray, Example]] = []
    for number, photo in enumerate(photos, 1):
        _check(photo)
        name = f"photo {number}" if progress else ""
        if large := tiles is not None and tiles.of == "photo" and max(photo.shape[:2]) > tiles.size:
            whole = {"photo": photo}
        else:
            whole = experiment.photo(config, photo)
            large = tiles is not None and tiles.of == "input" and max(_size(whole)) > tiles.size
        if large:
            yield from _in_one_piece(run, apply, waiting, maps)
            waiting = []
            yield _in_windows(run, apply, photo, whole, tiles, maps, name)
            continue
        waiting.append((photo, whole))
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


def _size(example: Example) -> tuple[int, int]:
    """Rows and columns that the arrays of an example share."""
    return next(iter(example.values())).shape[:2]


def _in_one_piece(
    run: Run, apply: Apply, photos: Sequence[tuple[np.ndarray, Example]], maps: bool
) -> Iterator[tuple[Batch, dict]]:
    predictions = _together(apply, [example for _, example in photos])
    for (photo, _), prediction in zip(photos, predictions, strict=True):
        yield prediction if maps else {}, run.experiment.export(run.config, photo, prediction)


def _in_windows(
    run: Run, apply: Apply, photo: np.ndarray, whole: Example, tiles: Tiles, maps: bool, name: str
) -> tuple[Batch, dict[str, Any]]:
    """The same for one photo in several windows of `whole`, of which each device takes one at a time."""
    experiment, config, cut_photo = run.experiment, run.config, tiles.of == "photo"
    size = _size(whole)
    places = windows(*size, tiles)
    together = run.mesh.size  # on a CPU more at once take more memory and no less time
    prediction, pictures = {}, {}
    with contextlib.closing(Progress(len(places), unit="window", counted="windows", active=bool(name))) as told:
        for start in range(0, len(places), together):
            some = places[start : start + together]
            views = [{k: np.ascontiguousarray(x[at.rows, at.columns]) for k, x in whole.items()} for at in some]
            examples = [experiment.photo(config, view["photo"]) for view in views] if cut_photo else views
            filled = [*examples, *examples[-1:] * (together - len(some))]
            for window, view, found in zip(some, views, _together(apply, filled), strict=False):
                if maps or not cut_photo:
                    put(prediction, found, window, size, tiles.scale)
                if cut_photo:
                    put(pictures, experiment.export(config, view["photo"], found), window, size, tiles.scale)
            told.update(start + len(some), f"{name}, {photo.shape[1]}x{photo.shape[0]}", None, len(some))
    if not cut_photo:
        pictures = experiment.export(config, photo, prediction)
    return prediction if maps else {}, pictures


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
