"""Detection rates by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.metrics.pose import curves, detection_rates, localisation_sigma

JOINTS = ("nose", "left_wrist", "right_wrist")


def scored(metric, predictions, truths, known, sizes):
    pairs = zip(predictions, truths, known, sizes, strict=True)
    each = [
        metric.stats(
            {"joints": jnp.asarray(p)}, {"joints": jnp.asarray(t), "known": jnp.asarray(k), "size": jnp.asarray(s)}
        )
        for p, t, k, s in pairs
    ]
    return jax.tree.map(lambda *x: np.sum(np.float64(x), 0), *each)


def test_by_hand():
    truths = np.zeros((2, 3, 2), np.float32)
    predictions = np.float32([[[3, 4], [10, 0], [0, 0]], [[0, 10], [20, 0], [0, 21]]])  # 5, 10, 0 and 10, 20, 21 away
    metrics = {radius: detection_rates(JOINTS, radius) for radius in (5, 10, 20)}
    total = scored(metrics[5], predictions, truths, np.ones((2, 3), np.float32), np.float32([100, 200]))
    rates = {radius: metric.result(total) for radius, metric in metrics.items()}  # 5, 10, 0 and 5, 10, 10.5 per cent
    assert rates[5] == pytest.approx({"nose": 100, "wrist": 25, "mean": 62.5})
    assert rates[10] == pytest.approx({"nose": 100, "wrist": 75, "mean": 87.5})
    assert rates[20] == pytest.approx({"nose": 100, "wrist": 100, "mean": 100})
    assert curves(JOINTS, total)["wrist"].tolist() == [25] * 10 + [75] + [100] * 10


def test_pckh_is_measured_by_the_head():
    """50 per cent of a head of 20 is 10; the torso's size does not matter."""
    metric = detection_rates(JOINTS, 50, size="head", radii=tuple(range(0, 101, 5)))
    found = jnp.asarray([[9.9, 0], [0, 10.1], [0, 0]])
    example = {"joints": jnp.zeros((3, 2)), "known": jnp.ones(3), "size": jnp.float32(1), "head": jnp.float32(20)}
    total = jax.device_get(metric.stats({"joints": found}, example))
    assert metric.result(total) == pytest.approx({"nose": 100, "wrist": 50, "mean": 75})


def test_joints_without_a_label_count_nowhere():
    truths = np.float32([[[0, 0], [np.nan, np.nan], [5, 5]]])
    metric = detection_rates(JOINTS, 10)
    total = scored(metric, np.zeros((1, 3, 2), np.float32), truths, np.float32([[1, 0, 0]]), np.float32([10]))
    assert metric.result(total) == {"nose": 100.0, "mean": 100.0}


def test_nothing_labelled_is_no_score():
    metric = detection_rates(JOINTS, 10)
    total = scored(metric, np.zeros((1, 3, 2)), np.zeros((1, 3, 2)), np.zeros((1, 3)), np.ones(1))
    assert np.isnan(metric.result(total)["mean"])


def test_a_radius_that_is_not_counted():
    with pytest.raises(ValueError, match="no radius 50 among"):
        detection_rates(JOINTS, 50)


def test_a_body_without_a_size_counts_nowhere():
    metric = detection_rates(JOINTS, 10)
    truths, known = np.zeros((2, 3, 2), np.float32), np.ones((2, 3), np.float32)
    predictions = np.stack([truths[0], truths[0] + 50])
    assert metric.result(scored(metric, predictions, truths, known, np.float32([10, 0])))["mean"] == 100
    assert metric.result(scored(metric, predictions, truths, known, np.float32([10, 10])))["mean"] == 50


def test_localisation_sigma_by_hand():
    truths = np.full((3, 3, 2), np.nan, np.float32)
    truths[:, :2] = 0
    predictions = np.float32([[[3, 4], [6, 8], [0, 0]], [[1, 0], [20, 0], [0, 0]], [[0, 21], [40, 0], [0, 0]]])
    known = np.float32([[1, 1, 0], [1, 1, 0], [1, 1, 0]])
    metric = localisation_sigma(JOINTS, within=20)
    total = scored(metric, predictions, truths, known, np.float32([100, 100, 100]))  # off by 21 and 40: something else
    nose, wrist = np.sqrt((9 + 16 + 1 + 0) / 4), np.sqrt((36 + 64 + 400 + 0) / 4)
    assert metric.result(total) == pytest.approx({"nose": nose, "wrist": wrist, "mean": (nose + wrist) / 2})
    none = scored(metric, predictions, truths, known, np.zeros(3, np.float32))
    assert metric.result(none) == {}


def test_localisation_sigma_is_the_deviation_of_noise():
    noise = np.random.default_rng(0).normal(0, 2.5, (200, 3, 2)).astype(np.float32)
    metric = localisation_sigma(JOINTS)
    total = jax.tree.map(
        lambda x: np.float64(x).sum(0),
        jax.vmap(metric.stats)(
            {"joints": jnp.asarray(noise)},
            {"joints": jnp.zeros((200, 3, 2)), "known": jnp.ones((200, 3)), "size": jnp.full(200, 80.0)},
        ),
    )
    np.testing.assert_allclose(list(metric.result(total).values()), 2.5, rtol=0.1)
