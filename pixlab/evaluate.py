"""Scores of a prediction function over a whole split, and pictures of its first examples."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pixlab import core
from pixlab.core import Batch, Nets, Recipe, State
from pixlab.data.pipeline import WEIGHT, Data, Example, eval_batches
from pixlab.errors import UserError
from pixlab.hosts import first_host
from pixlab.log import Log
from pixlab.mesh import everywhere, on_one_device, replicated, share_batch, wait_on_cpu
from pixlab.progress import told

Predict = Callable[[Nets, Nets, Batch], Batch]
PICTURES = 4  # examples of the test split that are drawn each time


class Evaluator:
    """Scores a prediction function over a whole split, exactly: each image counts once, whatever the batch size."""

    def __init__(self, predict: Predict, metrics: Mapping[str, core.Metric], mesh: jax.sharding.Mesh):
        self._mesh, self._metrics = mesh, metrics

        def score(params: Nets, carry: Nets, batch: Batch) -> tuple[Batch, Any, jax.Array]:
            batch, weight = {k: v for k, v in batch.items() if k != WEIGHT}, batch.get(WEIGHT, jnp.ones(1))
            prediction = predict(params, carry, batch)
            return prediction, {name: jax.vmap(m.stats)(prediction, batch) for name, m in metrics.items()}, weight

        self._score = jax.jit(score, out_shardings=replicated(mesh))
        self._score_alone = jax.jit(score)  # on one device, compiled anew for each size

    def predict(self, state: State, batch: Example) -> Batch:
        """The prediction for one evaluation batch, on the host."""
        return jax.device_get(self._run(self._whole(state), batch)[0])

    def __call__(self, state: State, batches: Iterable[Example]) -> dict[str, float]:
        """{metric/score: value} of `state` over `batches` (see pipeline.eval_batches). Raises UserError without any."""
        total, whole = None, self._whole(state)
        for batch in batches:
            stats, weight = jax.device_get(self._run(whole, batch)[1:])
            for row in np.flatnonzero(weight):
                one = jax.tree.map(lambda x, row=row: np.asarray(x[row], np.float64), stats)
                total = one if total is None else {n: m.merge(total[n], one[n]) for n, m in self._metrics.items()}
        if total is None:
            raise UserError("the split to score is empty")
        scores = {name: metric.result(total[name]) for name, metric in self._metrics.items()}
        return {f"{name}/{key}": float(value) for name in scores for key, value in scores[name].items()}

    def _whole(self, state: State) -> tuple[Nets, Nets]:
        return everywhere((core.eval_params(state), state.carry), self._mesh)

    def _run(self, whole: tuple[Nets, Nets], batch: Example) -> tuple[Batch, Any, jax.Array]:
        if WEIGHT in batch:
            out = self._score(*whole, share_batch(batch, self._mesh))
        else:  # one example, which does not divide over devices: every host computes it by itself
            out = self._score_alone(*on_one_device((*whole, batch), self._mesh))
        wait_on_cpu(out)
        return out


def scored_batches(data: Data, split: str) -> Iterator[Example]:
    """`eval_batches` of a split, of which standard error says how far it is where that takes long."""
    one = data.splits[split]
    unit, counted = ("image", "images") if one.alone else ("batch", "batches")
    total = -(-len(one.source) // (1 if one.alone else data.batch))
    return told(eval_batches(data, split), total, unit=unit, counted=counted, active=first_host())


def draw(recipe: Recipe, data: Data, state: State, log: Log, evaluate: Evaluator, step: int) -> None:
    """Write the pictures that the recipe renders of the first test examples: of a batch, or of those that are alone."""
    if recipe.render is None:
        return
    number = 0
    for batch in itertools.islice(eval_batches(data, "test"), PICTURES if data.splits["test"].alone else 1):
        prediction = evaluate.predict(state, batch)
        for row in range(min(PICTURES, int(batch[WEIGHT].sum()) if WEIGHT in batch else 1)):
            pictures = recipe.render({k: v[row] for k, v in batch.items()}, {k: v[row] for k, v in prediction.items()})
            for name, picture in pictures.items():
                log.picture(step, f"{name}_{number}", picture)
            number += 1
