"""Accuracy of colours beside NumPy, figures worked out by hand, and scikit-image's conversion and PSNR."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree
from skimage.color import lab2rgb
from skimage.metrics import peak_signal_noise_ratio

from pixlab.metrics.colour_accuracy import colour_accuracy
from pixlab.nn.ab_bins import AB_BINS, BINS, GREY_BIN, smoothed


def scores(predictions, examples):
    metric, total = colour_accuracy(), None
    stats = jax.jit(metric.stats)
    for prediction, example in zip(predictions, examples, strict=True):
        one = jax.tree.map(lambda x: np.asarray(x, np.float64), stats(prediction, example))
        total = one if total is None else metric.merge(total, one)
    return metric.result(total)


def drawn(count=3, shape=(6, 5), strength=1.0):
    rng, prior = np.random.default_rng(0), np.random.default_rng(1).uniform(0.1, 1, 313)
    prior = jnp.asarray(prior / prior.sum(), jnp.float32)
    examples, predictions = [], []
    for _ in range(count):
        true = jnp.asarray(strength * rng.uniform(-60, 60, (*shape, 2)), jnp.float32)
        light = jnp.asarray(rng.uniform(-20, 20, (*shape, 1)), jnp.float32)
        examples.append({"image": light, "ab": true})
        found = jnp.asarray(true + strength * rng.normal(size=(*shape, 2)) * 30, jnp.float32)
        predictions.append({"ab": found, "prior": prior})
    return predictions, examples


def test_area_under_accuracy_of_all_pixels_and_rebalanced():
    predictions, examples = drawn()
    found = np.concatenate([np.asarray(p["ab"], np.float64).reshape(-1, 2) for p in predictions])
    true = np.concatenate([np.asarray(e["ab"], np.float64).reshape(-1, 2) for e in examples])
    prior = np.asarray(predictions[0]["prior"], np.float64)
    away, weight = np.linalg.norm(found - true, axis=1), 1 / prior[cKDTree(AB_BINS).query(true)[1]]
    plain = [np.mean(away <= t) for t in range(151)]
    balanced = [np.sum(weight * (away <= t)) / weight.sum() for t in range(151)]
    ours = scores(predictions, examples)
    for name, curve in (("", plain), ("_rebalanced", balanced)):
        area = sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / 150
        assert ours[f"auc{name}"] == pytest.approx(100 * area, rel=1e-5)
        assert ours[f"within_20{name}"] == pytest.approx(100 * curve[20], rel=1e-5)


def test_the_truth_scores_100_and_a_constant_error_what_is_left_beyond_it():
    predictions, examples = drawn()
    right = [p | {"ab": e["ab"]} for p, e in zip(predictions, examples, strict=True)]
    best = scores(right, examples)
    assert [best[name] for name in ("auc", "auc_rebalanced", "within_20")] == pytest.approx([100] * 3)
    away = [p | {"ab": e["ab"] + jnp.array([[[18.0, 24.5]]])} for p, e in zip(predictions, examples, strict=True)]
    off = scores(away, examples)  # 30.4 units: reached from 31 on
    area = 100 * (150 - 31 + 0.5) / 150
    assert [off[name] for name in ("auc", "auc_rebalanced", "within_20")] == pytest.approx([area, area, 0])


def test_rare_colours_count_more():
    rare, common = AB_BINS[300], AB_BINS[120]
    prior = jnp.full(313, 0.01 / 311).at[300].set(0.1).at[120].set(0.89)
    true = jnp.asarray(np.stack([np.stack([rare, common, common, common])]))
    example = {"image": jnp.zeros((1, 4, 1)), "ab": true}
    grey = scores([{"ab": jnp.zeros((1, 4, 2)), "prior": prior}], [example])
    assert grey["within_20"] == pytest.approx(75)
    assert grey["within_20_rebalanced"] == pytest.approx(100 * (3 / 0.89) / (3 / 0.89 + 1 / 0.1), rel=1e-5)


def test_one_pixel_of_an_unseen_colour_does_not_make_the_scores_of_near_grey_photos_nan():
    """Nor is it all that counts: its bin was counted once, that of grey 1e4 times."""
    prior = jnp.asarray(smoothed(1e4 * np.eye(BINS)[GREY_BIN]), jnp.float32)
    true = jnp.zeros((100, 100, 2)).at[0, 0].set(jnp.asarray(AB_BINS[0]))
    example = {"image": jnp.zeros((100, 100, 1)), "ab": true}
    found = scores([{"ab": jnp.zeros_like(true), "prior": prior}], [example])
    assert np.isfinite(list(found.values())).all() and found["within_20"] == pytest.approx(99.99)
    ratio = float(prior[GREY_BIN] / prior[0])
    assert found["within_20_rebalanced"] == pytest.approx(100 * 9999 / (9999 + ratio), rel=1e-4)
    assert 20 < found["within_20_rebalanced"] < 90


def test_psnr_is_that_of_the_pictures():
    predictions, examples = drawn(2, strength=0.3)
    expected = []
    for prediction, example in zip(predictions, examples, strict=True):
        pictures = []
        for ab in (example["ab"], prediction["ab"]):
            lab = np.concatenate([example["image"] + 50, ab], -1).astype(np.float64)
            pictures.append(np.uint8(np.floor(255 * lab2rgb(lab) + 0.5)))
        expected.append(peak_signal_noise_ratio(*pictures))
    assert scores(predictions, examples)["psnr"] == pytest.approx(np.mean(expected), abs=0.02)
