"""SRCNN: its size, and what its padding leaves."""

import jax
import jax.numpy as jnp
import pytest

from pixlab.models.srcnn import SRCNN


@pytest.mark.parametrize(("middle", "parameters", "left"), [(1, 8129, 21), (3, 24513, 19), (5, 57281, 17)])
def test_parameters_and_what_a_patch_of_33_leaves(middle, parameters, left):
    net, patch = SRCNN((9, middle, 5)), jnp.zeros((1, 33, 33, 1))
    out, variables = jax.eval_shape(lambda key: net.init_with_output(key, patch), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == parameters
    assert out.shape == (1, left, left, 1)
