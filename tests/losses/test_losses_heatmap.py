"""Heat-map targets and their loss, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from pixlab.losses.heatmap import gaussian_maps, heatmap_loss


def test_a_gaussian_by_hand():
    maps = gaussian_maps(jnp.asarray([[[3.0, 2.0]]]), jnp.ones((1, 1)), (5, 6), 1.0)[0, ..., 0]
    np.testing.assert_allclose(maps[2], [0.011109, 0.13533528, 0.60653066, 1, 0.60653066, 0.13533528], rtol=1e-6)
    np.testing.assert_allclose(maps[3, 3], 0.60653066, rtol=1e-6)
    shown = np.zeros((1, 5, 6, 1), np.float32)
    shown[0, 1:4, :, 0] = [[0, 0.1, 0.2, 0.3, 0.1, 0], [0, 0.2, 0.6, 1, 0.7, 0.1], [0, 0.1, 0.3, 0.8, 0.4, 0]]
    np.testing.assert_allclose(
        heatmap_loss(jnp.asarray(shown), maps[None, ..., None], jnp.ones((1, 1))), 0.01101481, rtol=1e-5
    )


def test_joints_that_nobody_labelled_are_left_out():
    """NaN or any other number, they change neither the loss nor its gradient."""
    places = jnp.asarray([[[2.0, 1.0], [jnp.nan, 3.0]], [[9.0, 9.0], [1.0, 1.0]]])
    known = jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    target = gaussian_maps(places, known, (4, 5))
    assert np.isfinite(target).all() and not target[0, ..., 1].any() and not target[1, ..., 0].any()
    maps = jax.random.normal(jax.random.key(0), (2, 4, 5, 2))
    loss, grad = jax.value_and_grad(heatmap_loss)(maps, target, known)
    np.testing.assert_allclose(
        loss, (np.mean((maps - target)[0, ..., 0] ** 2) + np.mean((maps - target)[1, ..., 1] ** 2)) / 2, rtol=1e-6
    )
    assert not grad[0, ..., 1].any() and not grad[1, ..., 0].any() and np.abs(grad).max() > 0
    assert heatmap_loss(maps, target, jnp.zeros((2, 2))) == 0


def test_a_joint_outside_the_map_leaves_what_reaches_inside():
    maps = gaussian_maps(jnp.asarray([[[-1.0, 2.0], [40.0, 2.0]]]), jnp.ones((1, 2)), (5, 6), 1.0)
    np.testing.assert_allclose(maps[0, 2, 0, 0], np.exp(-0.5), rtol=1e-6)
    assert not maps[..., 1].any()
