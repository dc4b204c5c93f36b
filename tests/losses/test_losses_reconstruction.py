"""Pixel losses against PyTorch's."""

import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.losses.reconstruction import half_sum_of_squares, l1, l2


def test_pixel_losses_are_pytorchs():
    torch = pytest.importorskip("torch")
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 2)).astype(np.float32)
    ours, theirs = [jnp.asarray(x) for x in (a, b)], [torch.from_numpy(x) for x in (a, b)]
    np.testing.assert_allclose(l1(*ours), torch.nn.functional.l1_loss(*theirs), rtol=1e-5)
    np.testing.assert_allclose(l2(*ours), torch.nn.functional.mse_loss(*theirs), rtol=1e-5)
    total = torch.nn.functional.mse_loss(*theirs, reduction="sum")
    np.testing.assert_allclose(half_sum_of_squares(*ours), total / 6, rtol=1e-5)
