"""Parameters for tests without compiling an initialisation: He's deviation for kernels, small noise elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np


def draw(module, *inputs, seed=0, **options):
    """Variables of `module` for these inputs, drawn by NumPy; variances and scales are around 1."""
    rng = np.random.default_rng(seed)

    def leaf(path, like):
        name = path[-1].key
        if name == "kernel":
            value = rng.normal(size=like.shape) * np.sqrt(2 / np.prod(like.shape[:-1]))
        elif name in ("scale", "var"):
            value = rng.uniform(0.8, 1.2, like.shape)
        else:
            value = rng.normal(size=like.shape) * 0.1
        return jnp.asarray(value, like.dtype)

    shapes = jax.eval_shape(lambda *x: module.init({"params": jax.random.key(0)}, *x, **options), *inputs)
    return jax.tree_util.tree_map_with_path(leaf, shapes)
