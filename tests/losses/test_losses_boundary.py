"""HED's balanced cross-entropy against the worked example, a loop over pixels and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.errors import UserError
from pixlab.losses.boundary import balanced_cross_entropy

LOGITS = np.array([2.0, -1, 0, -3, 1])
LABEL = np.array([1.0, 0, 0, 0, 1])


def row(values):
    return jnp.asarray(values, jnp.float32).reshape(1, 1, -1, 1)


def test_worked_example():
    value = balanced_cross_entropy(row(LOGITS), row(LABEL), jnp.ones((1, 1, 5, 1)))
    assert float(value) == pytest.approx(0.68611231, rel=1e-6)


def test_pixels_of_other_labels_and_invalid_ones_are_not_there():
    logits, label = row([*LOGITS, 7, -8, 9]), row([*LABEL, 2, 0.5, 1])
    valid = row([1, 1, 1, 1, 1, 1, 1, 0])
    value, gradient = jax.value_and_grad(balanced_cross_entropy)(logits, label, valid)
    assert float(value) == pytest.approx(0.68611231, rel=1e-6)
    np.testing.assert_array_equal(gradient.ravel()[5:], 0)
    assert np.all(gradient.ravel()[:5] != 0)


@pytest.mark.parametrize("normalisation", ["sum", "pixels"])
def test_images_are_balanced_one_by_one(normalisation):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 4, 5, 1)) * 3
    label = (rng.random((3, 4, 5, 1)) < np.array([0.1, 0.4, 0.8])[:, None, None, None]).astype(float)
    valid = (rng.random((3, 4, 5, 1)) < 0.7).astype(float)
    total = 0.0
    for x, y, v in zip(logits, label, valid, strict=True):
        kept = [(a, b) for a, b, c in zip(x.ravel(), y.ravel(), v.ravel(), strict=True) if c]
        beta = sum(b == 0 for _, b in kept) / len(kept)
        loss = sum(np.log1p(np.exp(-a)) * beta if b else np.log1p(np.exp(a)) * (1 - beta) for a, b in kept)
        total += loss / (len(kept) if normalisation == "pixels" else 1)
    ours = balanced_cross_entropy(
        *(jnp.asarray(a, jnp.float32) for a in (logits, label, valid)), normalisation=normalisation
    )
    assert float(ours) == pytest.approx(total / 3, rel=1e-5)


def test_value_and_gradient_are_torchs_even_far_out():
    torch = pytest.importorskip("torch")
    logits, label = np.array([100.0, -100, 30, -30, 0.5]), np.array([0.0, 1, 1, 0, 0])
    t = torch.tensor(logits, requires_grad=True)
    weight = torch.tensor(np.where(label == 1, 0.6, 0.4))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(t, torch.tensor(label), weight, reduction="sum")
    expected.backward()
    value, gradient = jax.value_and_grad(balanced_cross_entropy)(row(logits), row(label), jnp.ones((1, 1, 5, 1)))
    assert float(value) == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(gradient.ravel(), t.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("normalisation", ["sum", "pixels"])
@pytest.mark.parametrize(
    ("label", "valid"), [(LABEL, np.zeros(5)), (np.ones(5), np.ones(5)), (np.zeros(5), np.ones(5))]
)
def test_nothing_to_balance(label, valid, normalisation):
    value, gradient = jax.value_and_grad(
        lambda x: balanced_cross_entropy(x, row(label), row(valid), normalisation=normalisation)
    )(row(LOGITS))
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_another_normalisation():
    with pytest.raises(UserError, match="'sum' or 'pixels'"):
        balanced_cross_entropy(row(LOGITS), row(LABEL), row(np.ones(5)), normalisation="mean")
