"""Cross-entropy against the worked example and PyTorch; class weights against the worked example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.errors import UserError
from pixlab.losses.segmentation import (
    class_counts,
    label_valid,
    median_frequency_weights,
    softmax_cross_entropy,
)

LOGITS = jnp.array([[2.0, 1, 0], [0, 0, 0], [1, 3, -1]]).reshape(1, 1, 3, 3)
LABEL = jnp.array([0, 2, 255]).reshape(1, 1, 3, 1)
LOG_P = (0.40760596, 1.09861229)


@pytest.mark.parametrize(
    ("weights", "normalisation", "expected"),
    [
        (None, "pixels", 0.75310913),
        (None, "weights", 0.75310913),
        (None, "sum", 1.50621825),
        ((0.5, 1.0, 2.0), "weights", 0.96041102),
        ((0.5, 1.0, 2.0), "pixels", 1.20051378),
        ((0.5, 1.0, 2.0), "sum", 0.5 * LOG_P[0] + 2 * LOG_P[1]),
    ],
)
def test_worked_example(weights, normalisation, expected):
    valid = label_valid(LABEL, classes=3, ignore=None)
    np.testing.assert_array_equal(valid.ravel(), [1, 1, 0])
    loss = softmax_cross_entropy(LOGITS, LABEL, valid, class_weights=weights, normalisation=normalisation)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient_are_torchs(weighted):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 5, 6)).astype(np.float32) * 4
    label = rng.integers(0, 6, (2, 4, 5, 1))
    weights = rng.random(6).astype(np.float32) + 0.1 if weighted else None
    t = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        t.permute(0, 3, 1, 2),
        torch.tensor(label[..., 0]),
        weight=None if weights is None else torch.tensor(weights),
        ignore_index=0,
    )
    expected.backward()
    label = jnp.asarray(label, jnp.int32)
    value, gradient = jax.jit(
        jax.value_and_grad(
            lambda x: softmax_cross_entropy(
                x, label, label_valid(label, classes=6), class_weights=weights, normalisation="weights"
            )
        )
    )(jnp.asarray(logits))
    assert float(value) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, t.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("normalisation", ["pixels", "weights", "sum"])
def test_nothing_valid(normalisation):
    value, gradient = jax.value_and_grad(softmax_cross_entropy)(
        LOGITS, LABEL, jnp.zeros((1, 1, 3, 1)), class_weights=(1.0, 2.0, 3.0), normalisation=normalisation
    )
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_label_valid_leaves_out_the_ignored_and_the_impossible():
    label = jnp.array([-1, 0, 1, 2, 3, 255]).reshape(1, 1, 6, 1)
    np.testing.assert_array_equal(label_valid(label, classes=3).ravel(), [0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(label_valid(label, classes=3, ignore=2).ravel(), [0, 1, 1, 0, 0, 0])


def test_median_frequency_of_the_worked_example():
    images = [[0] * 6 + [1] * 2, [0] * 4 + [2] * 4, [0] * 7 + [1]]
    counts = sum(class_counts(np.array(i), classes=3, ignore=None) for i in images)
    np.testing.assert_allclose(counts[0] / counts[1], [0.70833333, 0.1875, 0.5], atol=1e-8)
    np.testing.assert_allclose(median_frequency_weights(counts), [0.70588235, 2.66666667, 1], atol=1e-8)


def test_counts_leave_out_unlabelled_pixels_and_absent_classes_weigh_nothing():
    counts = class_counts(np.array([[0, 0, 1], [1, 2, 255]]), classes=4, ignore=0)
    np.testing.assert_array_equal(counts, [[0, 2, 1, 0], [0, 3, 3, 0]])
    np.testing.assert_allclose(median_frequency_weights(counts), [0, 0.75, 1.5, 0])


def test_mistakes_say_what_to_do():
    valid = jnp.ones((1, 1, 3, 1))
    label = jnp.minimum(LABEL, 2)
    with pytest.raises(UserError, match="'pixels', 'weights' or 'sum'"):
        softmax_cross_entropy(LOGITS, label, valid, normalisation="mean")
    with pytest.raises(UserError, match="2 class weights for logits of 3 classes"):
        softmax_cross_entropy(LOGITS, label, valid, class_weights=(1.0, 2.0))
    with pytest.raises(UserError, match="at least one labelled image"):
        median_frequency_weights(np.zeros((2, 4)))
