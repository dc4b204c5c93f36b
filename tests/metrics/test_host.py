"""Scores that NumPy makes: the same whatever order batches are added up in, from arrays in float64."""

import functools

import jax
import numpy as np
import pytest

from pixlab.core import Metric
from pixlab.metrics.host import host_metric

RNG = np.random.default_rng(0)
PAIRS = [{"x": RNG.random((4, 5), np.float32)} for _ in range(4)]


def median_times(prediction, example):
    return {"x": prediction["x"] * 2, "y": example["x"]}


def score(maps):
    assert all(isinstance(x, np.ndarray) and x.dtype == np.float64 for x in maps.values())
    return {"sum": np.median(maps["x"]) + maps["y"].max(), "pictures": np.float64(1)}


def metric() -> Metric:
    return host_metric(median_times, score, lambda total: {"mean": float(total["sum"] / total["pictures"])})


@pytest.mark.parametrize("pictures", [1, 4])
def test_is_the_mean_of_what_numpy_says_of_each(pictures):
    made = metric()
    stats = jax.jit(made.stats)  # what is taken of a prediction is compiled, the rest is not
    parts = [stats(pair, pair) for pair in PAIRS[:pictures]]
    parts = [jax.tree.map(lambda x: np.asarray(x, np.float64), part) for part in parts]
    expected = np.mean([np.median(2 * pair["x"].astype(np.float64)) + pair["x"].max() for pair in PAIRS[:pictures]])
    assert made.result(functools.reduce(made.merge, parts))["mean"] == pytest.approx(expected, rel=1e-6)
    if pictures > 1:
        halves = made.merge(parts[0], parts[1]), made.merge(parts[2], parts[3])
        assert made.result(made.merge(*halves))["mean"] == pytest.approx(expected, rel=1e-6)
