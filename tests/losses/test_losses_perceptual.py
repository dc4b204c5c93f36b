"""Losses on features by loops, and what they must not see."""

import jax
import jax.numpy as jnp
import numpy as np

from pixlab.losses.perceptual import feature_loss, gram, style_loss, total_variation, vgg_loss

RNG = np.random.default_rng(0)


def features(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_feature_losses_by_loops():
    a, b = features(2, 3, 4, 5), features(2, 3, 4, 5)
    squares = [sum(float(d) ** 2 for d in difference.ravel()) for difference in a - b]
    a, b = jnp.asarray(a), jnp.asarray(b)
    np.testing.assert_allclose(feature_loss(a, b), np.mean(squares) / (5 * 3 * 4), rtol=1e-5)
    np.testing.assert_allclose(vgg_loss(a, b, scale=1), np.mean(squares) / (3 * 4), rtol=1e-5)
    np.testing.assert_allclose(vgg_loss(a, b), feature_loss(a / 12.75, b / 12.75) * 5, rtol=1e-5)


def by_hand(x):
    """Gram matrix [c, c] of one image's features [h, w, c]: every pair of channels, every cell."""
    h, w, c = x.shape
    out = np.zeros((c, c))
    for p in range(c):
        for q in range(c):
            out[p, q] = sum(float(x[i, j, p]) * float(x[i, j, q]) for i in range(h) for j in range(w))
    return out / (c * h * w)


def test_gram_and_style_by_loops():
    one, two, target = features(2, 3, 4, 3), features(2, 2, 2, 5), features(1, 6, 5, 3)
    np.testing.assert_allclose(gram(jnp.asarray(one)), [by_hand(x) for x in one], rtol=1e-4, atol=1e-6)
    grams = {"relu1_2": gram(jnp.asarray(target)), "relu2_2": gram(jnp.asarray(two[::-1]))}
    seen = {"relu1_2": jnp.asarray(one), "relu2_2": jnp.asarray(two), "relu3_3": jnp.ones((2, 2, 2, 2))}
    expected = np.mean([np.sum((by_hand(x) - by_hand(target[0])) ** 2) for x in one])
    expected += np.sum((by_hand(two[0]) - by_hand(two[1])) ** 2)
    np.testing.assert_allclose(style_loss(seen, grams), expected, rtol=1e-4)


def test_style_does_not_see_where_content_does():
    x = jnp.asarray(features(1, 4, 6, 3))
    turned = x[:, ::-1, ::-1]
    assert style_loss({"a": x}, {"a": gram(turned)}) < 1e-10 and feature_loss(x, turned) > 0.1
    assert style_loss({"a": x}, {"a": gram(2 * x)}) > 0.1


def test_total_variation_by_loops():
    x = features(2, 3, 4, 2)
    expected = 0.0
    for b, i, j, c in np.ndindex(x.shape):
        expected += (x[b, i + 1, j, c] - x[b, i, j, c]) ** 2 if i < 2 else 0
        expected += (x[b, i, j + 1, c] - x[b, i, j, c]) ** 2 if j < 3 else 0
    np.testing.assert_allclose(total_variation(jnp.asarray(x)), expected / 2, rtol=1e-5)
    spike = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1.0)
    np.testing.assert_allclose(total_variation(spike), 4)
    np.testing.assert_allclose(jax.grad(total_variation)(spike)[0, 2, 1:4, 0], [-2, 8, -2])
