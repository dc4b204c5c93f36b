"""Losses on colours beside the definition written as loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from pixlab.losses.colour import ab_loss, class_weights, has_colour, rebalanced_cross_entropy
from pixlab.nn.ab_bins import AB_BINS


def drawn():
    rng = np.random.default_rng(0)
    ab = rng.uniform(-40, 40, (3, 2, 3, 2)).astype(np.float32)
    ab[1] = rng.uniform(-5, 5, ab[1].shape)  # a grey image
    prior = rng.uniform(0.05, 1, 313) ** 4
    return rng.normal(size=(3, 2, 3, 313)).astype(np.float32), ab, np.float32(prior / prior.sum())


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1.0])
def test_class_weights_are_equation_4(uniform):
    _, _, prior = drawn()
    weights = np.asarray(class_weights(jnp.asarray(prior), uniform), np.float64)
    expected = 1 / ((1 - uniform) * prior + uniform / 313)
    np.testing.assert_allclose(weights, expected / (prior * expected).sum(), rtol=1e-5)
    assert (prior * weights).sum() == pytest.approx(1, rel=1e-5)
    if uniform == 1:
        np.testing.assert_allclose(weights, 1, rtol=1e-5)


@pytest.mark.parametrize("rare", [0.0, 1e-45, 1e-40, 1e-30])
def test_weights_of_bins_that_hardly_ever_occur_are_finite(rare):
    """Float32 has no inverse of what lies below 3e-39."""
    prior = np.full(313, rare, np.float32)
    prior[:3] = (0.5, 0.3, 0.2)
    for uniform in (0.0, 0.5):
        weights = np.asarray(class_weights(jnp.asarray(prior), uniform), np.float64)
        expected = 1 / ((1 - uniform) * np.maximum(prior, 1e-9) + uniform / 313)
        np.testing.assert_allclose(weights, expected / (prior * expected).sum(), rtol=1e-5)
        assert np.isfinite(weights).all()


def expected_loss(logits, ab, weights):
    """Nested loops in float64."""
    tree, total = cKDTree(AB_BINS), 0.0
    for image in range(len(ab)):
        if not (np.abs(ab[image]) > 5).any():
            continue
        for i in range(ab.shape[1]):
            for j in range(ab.shape[2]):
                distance, near = tree.query(ab[image, i, j], k=10)
                share = np.exp(-(distance**2) / 50)
                share /= share.sum()
                scores = logits[image, i, j].astype(np.float64)
                log_p = scores - np.log(np.exp(scores).sum())
                total -= weights[near[0]] * (share * log_p[near]).sum()
    return total / len(ab)


def test_rebalanced_cross_entropy_is_equation_2_without_grey_images():
    logits, ab, prior = drawn()
    weights = class_weights(jnp.asarray(prior))
    np.testing.assert_array_equal(has_colour(jnp.asarray(ab)), [1, 0, 1])
    loss, grad = jax.value_and_grad(rebalanced_cross_entropy)(jnp.asarray(logits), jnp.asarray(ab), weights)
    assert float(loss) == pytest.approx(expected_loss(logits, ab, np.asarray(weights)), rel=1e-5)
    assert not np.any(grad[1]) and np.all(np.isfinite(grad)) and np.all(np.abs(grad[0]).max(-1) > 0)


def test_its_gradient_is_weight_times_softmax_minus_target():
    logits, ab, prior = drawn()
    weights = class_weights(jnp.asarray(prior))
    grad = jax.grad(rebalanced_cross_entropy)(jnp.asarray(logits), jnp.asarray(ab), weights)
    distance, near = cKDTree(AB_BINS).query(ab, k=10)
    share = np.exp(-(distance**2) / 50)
    target = np.zeros_like(logits, np.float64)
    np.put_along_axis(target, near, share / share.sum(-1, keepdims=True), -1)
    p = np.asarray(jax.nn.softmax(jnp.asarray(logits)), np.float64)
    expected = np.asarray(weights)[near[..., :1]] * (p - target) * np.float64([1, 0, 1])[:, None, None, None] / 3
    np.testing.assert_allclose(grad, expected, atol=2e-3 * np.abs(expected).max())


def test_only_grey_images_give_a_finite_loss():
    logits, _, prior = drawn()
    ab, weights = jnp.full((3, 2, 3, 2), 4.9), class_weights(jnp.asarray(prior))
    loss, grad = jax.value_and_grad(rebalanced_cross_entropy)(jnp.asarray(logits), ab, weights)
    assert loss == 0 and not np.any(grad)


def test_ab_loss_is_half_the_squared_distance_of_each_image():
    _, ab, _ = drawn()
    other = ab + np.float32([3, 4])
    assert float(ab_loss(jnp.asarray(other), jnp.asarray(ab))) == pytest.approx(6 * 25 / 2, rel=1e-5)
