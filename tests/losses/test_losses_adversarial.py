"""Adversarial losses against PyTorch's cross-entropy, at known points, and where naive formulas overflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.losses.adversarial import discriminator_loss, fake_loss, generator_loss, real_loss, statistics

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(6,), (2, 3, 4, 1)])
def test_losses_are_pytorchs_cross_entropy(shape):
    torch = pytest.importorskip("torch")
    real, fake = (3 * RNG.normal(size=shape).astype(np.float32) for _ in range(2))
    ours_real, ours_fake = jnp.asarray(real), jnp.asarray(fake)
    cross = torch.nn.functional.binary_cross_entropy_with_logits
    of_real, of_fake = (torch.from_numpy(x) for x in (real, fake))
    halves = cross(of_real, torch.ones(shape)), cross(of_fake, torch.zeros(shape))
    np.testing.assert_allclose(real_loss(ours_real), halves[0], rtol=1e-5)
    np.testing.assert_allclose(fake_loss(ours_fake), halves[1], rtol=1e-5)
    np.testing.assert_allclose(discriminator_loss(ours_real, ours_fake), sum(halves), rtol=1e-5)
    np.testing.assert_allclose(generator_loss(ours_fake), cross(of_fake, torch.ones(shape)), rtol=1e-5)


def test_a_discriminator_that_cannot_tell_and_the_best_one():
    """Equal densities: 2 log 2. Densities p and q: log(p / q) is the best logit, and changing it only costs."""
    np.testing.assert_allclose(discriminator_loss(jnp.zeros(3), jnp.zeros(3)), 2 * np.log(2), rtol=1e-6)
    p, q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.1, 0.1, 0.4])
    draws = [np.repeat(np.arange(4), np.round(10 * density).astype(int)) for density in (p, q)]
    of = lambda logits: discriminator_loss(*(logits[at] for at in draws))  # noqa: E731
    value, gradient = jax.value_and_grad(of)(jnp.asarray(np.log(p / q), jnp.float32))
    best = -np.sum(p * np.log(p / (p + q))) - np.sum(q * np.log(q / (p + q)))
    np.testing.assert_allclose(value, best, rtol=1e-5)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_sure_logits_overflow_nothing_and_the_generator_still_learns():
    sure = jnp.full(4, -200.0)
    value, gradient = jax.value_and_grad(generator_loss)(sure)
    np.testing.assert_allclose([value, fake_loss(sure), real_loss(-sure)], [200, 0, 0], atol=1e-6)
    np.testing.assert_allclose(gradient, -0.25)


def test_statistics_by_hand():
    got = statistics(jnp.asarray([np.log(3), -np.log(3), 2.0, 0.0]), jnp.asarray([np.log(4), -1.0]))
    assert set(got) == {"probability_real", "probability_fake", "loss_real", "loss_fake", "accuracy"}
    s = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    np.testing.assert_allclose(got["probability_real"], (0.75 + 0.25 + s(2) + 0.5) / 4, rtol=1e-6)
    np.testing.assert_allclose(got["probability_fake"], (0.8 + s(-1)) / 2, rtol=1e-6)
    np.testing.assert_allclose(got["accuracy"], (2.5 / 4 + 1 / 2) / 2, rtol=1e-6)
    np.testing.assert_allclose(got["loss_real"], -np.mean(np.log([0.75, 0.25, s(2), 0.5])), rtol=1e-5)
    np.testing.assert_allclose(got["loss_fake"], -np.mean(np.log([0.2, 1 - s(-1)])), rtol=1e-5)
