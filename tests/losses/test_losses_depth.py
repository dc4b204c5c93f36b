"""Depth losses against the worked example, double loops and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixlab.errors import UserError
from pixlab.losses.depth import (
    berhu_loss,
    eigen_fergus_loss,
    l1_loss,
    l2_loss,
    log_target,
    scale_invariant_loss,
)

ALL = (scale_invariant_loss, eigen_fergus_loss, l1_loss, l2_loss, berhu_loss)


def maps(seed=0, shape=(3, 5, 6, 1)):
    """Prediction, target and a mask with a different count in each image."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0.4, 0.9, shape[0])[:, None, None, None]
    valid = (rng.random(shape) < share).astype(np.float32)
    return rng.normal(size=shape).astype(np.float32), rng.normal(size=shape).astype(np.float32), valid


def device(*arrays):
    return tuple(jnp.asarray(a) for a in arrays)


def loop(prediction, target, valid, lam, pooling, gradient_norm=None):
    """The formulas, pixel by pixel."""
    per_image, top, bottom, pixel_terms = [], 0.0, 0.0, []
    dx_sum = dx_count = dy_sum = dy_count = 0.0
    for p, t, v in zip(prediction[..., 0].astype(float), target[..., 0].astype(float), valid[..., 0], strict=True):
        n, squares, total, gradient = 0, 0.0, 0.0, 0.0
        for i in range(p.shape[0]):
            for j in range(p.shape[1]):
                if not v[i, j]:
                    continue
                d = p[i, j] - t[i, j]
                n, squares, total = n + 1, squares + d * d, total + d
                if j + 1 < p.shape[1] and v[i, j + 1]:
                    step = (p[i, j + 1] - t[i, j + 1]) - d
                    dx_sum, dx_count, gradient = dx_sum + step**2, dx_count + 1, gradient + step**2
                if i + 1 < p.shape[0] and v[i + 1, j]:
                    step = (p[i + 1, j] - t[i + 1, j]) - d
                    dy_sum, dy_count, gradient = dy_sum + step**2, dy_count + 1, gradient + step**2
        per_image.append(squares / n - lam * total**2 / n**2)
        pixel_terms.append(gradient / n)
        top, bottom = top + n * squares - lam * total**2, bottom + n**2
    loss = np.mean(per_image) if pooling == "image" else top / bottom
    if gradient_norm == "pixels":
        loss += np.mean(pixel_terms)
    if gradient_norm == "pairs":
        loss += dx_sum / dx_count + dy_sum / dy_count
    return loss


@pytest.mark.parametrize("pooling", ["image", "batch"])
def test_worked_example(pooling):
    true = jnp.array([1.0, 2, 4, 8]).reshape(1, 2, 2, 1)
    predicted = jnp.array([1.0, 2.5, 3, 8.8]).reshape(1, 2, 2, 1)
    valid = jnp.ones_like(true)
    loss = scale_invariant_loss(jnp.log(predicted), log_target(true, valid), valid, lam=0.5, pooling=pooling)
    assert float(loss) == pytest.approx(0.03537992, rel=1e-5)
    variance = scale_invariant_loss(jnp.log(predicted), log_target(true, valid), valid, lam=1.0, pooling=pooling)
    assert float(variance) == pytest.approx(0.03535033, rel=1e-5)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("pooling", ["image", "batch"])
def test_scale_invariant_is_the_double_loop(pooling, lam):
    data = maps()
    loss = scale_invariant_loss(*device(*data), lam=lam, pooling=pooling)
    assert float(loss) == pytest.approx(loop(*data, lam, pooling), rel=1e-5)


@pytest.mark.parametrize("pooling", ["image", "batch"])
@pytest.mark.parametrize("gradient_norm", ["pixels", "pairs"])
def test_eigen_fergus_is_the_double_loop(pooling, gradient_norm):
    data = maps(1)
    loss = jax.jit(lambda *x: eigen_fergus_loss(*x, lam=0.5, pooling=pooling, gradient_norm=gradient_norm))
    assert float(loss(*device(*data))) == pytest.approx(loop(*data, 0.5, pooling, gradient_norm), rel=1e-5)


def test_poolings_agree_for_equal_counts_and_only_then():
    predicted, target, valid = device(*maps(2))
    full = jnp.ones_like(valid)
    by_image, by_batch = (scale_invariant_loss(predicted, target, full, pooling=p) for p in ("image", "batch"))
    assert float(by_image) == pytest.approx(float(by_batch), rel=1e-5)
    by_image, by_batch = (scale_invariant_loss(predicted, target, valid, pooling=p) for p in ("image", "batch"))
    assert abs(float(by_image) - float(by_batch)) > 1e-3


def test_image_without_depth_does_not_count():
    predicted, target, valid = maps(3)
    valid[1] = 0
    kept = device(*(x[[0, 2]] for x in (predicted, target, valid)))
    for pooling in ("image", "batch"):
        loss = eigen_fergus_loss(*device(predicted, target, valid), pooling=pooling)
        assert float(loss) == pytest.approx(float(eigen_fergus_loss(*kept, pooling=pooling)), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.integers(0, 2**16), st.sampled_from(["image", "batch"]))
def test_offset_of_log_depth_is_unseen_at_lambda_one(offset, seed, pooling):
    predicted, target, valid = device(*maps(seed))
    before = float(scale_invariant_loss(predicted, target, valid, lam=1.0, pooling=pooling))
    after = float(scale_invariant_loss(predicted + offset, target, valid, lam=1.0, pooling=pooling))
    assert after == pytest.approx(before, abs=2e-5)


def test_gradient_terms_do_not_see_an_offset_but_see_a_slope():
    valid = jnp.ones((1, 4, 5, 1))
    ramp = jnp.arange(5.0).reshape(1, 1, 5, 1) * valid

    def extra(d, norm):
        plain = scale_invariant_loss(d, 0 * d, valid)
        return float(eigen_fergus_loss(d, 0 * d, valid, gradient_norm=norm) - plain)

    assert extra(7 * valid, "pairs") == pytest.approx(0, abs=1e-6)
    assert extra(3 * ramp, "pairs") == pytest.approx(9, rel=1e-5)  # 16 pairs, each 3^2, by 16
    assert extra(3 * ramp, "pixels") == pytest.approx(9 * 16 / 20, rel=1e-5)


@pytest.mark.parametrize("loss", ALL)
def test_nothing_valid_gives_zero_and_no_gradient(loss):
    predicted, _, valid = device(*maps())
    target = jnp.full_like(predicted, jnp.inf)
    value, gradient = jax.value_and_grad(loss)(predicted, target, jnp.zeros_like(valid))
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("loss", ALL)
def test_invalid_targets_are_unseen(loss):
    predicted, target, valid = device(*maps())
    value, gradient = jax.value_and_grad(loss)(predicted, target, valid)
    spoiled = jnp.where(valid > 0, target, -jnp.inf)
    again, gradient_again = jax.value_and_grad(loss)(predicted, spoiled, valid)
    assert float(value) == float(again) != 0
    np.testing.assert_array_equal(gradient, gradient_again)
    assert np.all(np.asarray(gradient)[np.asarray(valid) == 0] == 0)
    assert np.any(np.asarray(gradient) != 0)


def test_l1_and_l2_are_torchs():
    torch = pytest.importorskip("torch")
    predicted, target, valid = maps(5, (2, 4, 3, 1))
    p, t = (torch.tensor(x[valid > 0]) for x in (predicted, target))
    assert float(l1_loss(*device(predicted, target, valid))) == pytest.approx(
        float(torch.nn.functional.l1_loss(p, t)), rel=1e-5
    )
    assert float(l2_loss(*device(predicted, target, valid))) == pytest.approx(
        float(torch.nn.functional.mse_loss(p, t)), rel=1e-5
    )


def test_mean_runs_over_channels_too():
    x = jnp.arange(24.0).reshape(1, 2, 4, 3)
    assert float(l1_loss(x, 0 * x, jnp.ones((1, 2, 4, 1)))) == pytest.approx(11.5)


def test_berhu_is_the_double_loop():
    predicted, target, valid = maps(6)
    errors = [abs(float(p) - float(t)) for p, t, v in zip(predicted.flat, target.flat, valid.flat, strict=True) if v]
    c = 0.2 * max(errors)
    expected = np.mean([e if e <= c else (e * e + c * c) / (2 * c) for e in errors])
    assert min(errors) < c
    assert float(berhu_loss(*device(predicted, target, valid))) == pytest.approx(expected, rel=1e-5)


def test_berhu_gradient_takes_the_threshold_as_constant():
    e = jnp.array([0.1, 1.0, 2.0]).reshape(1, 1, 3, 1)  # c = 0.4: slopes 1, e / c, e / c
    gradient = jax.grad(berhu_loss)(e, 0 * e, jnp.ones_like(e))
    np.testing.assert_allclose(gradient.ravel(), np.array([1, 2.5, 5]) / 3, rtol=1e-5)


def test_berhu_of_a_perfect_prediction():
    x = jnp.ones((1, 2, 2, 1))
    value, gradient = jax.value_and_grad(berhu_loss)(x, x, x)
    assert float(value) == 0
    assert np.all(np.isfinite(gradient))


def test_unknown_names_say_what_to_use():
    data = device(*maps())
    with pytest.raises(UserError, match="'image' or 'batch'"):
        scale_invariant_loss(*data, pooling="pixel")
    with pytest.raises(UserError, match="'pixels' or 'pairs'"):
        eigen_fergus_loss(*data, gradient_norm="mean")
