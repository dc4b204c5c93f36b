"""Instance normalisation: Ulyanov, Vedaldi & Lempitsky, arXiv 1607.08022."""

import flax.linen as nn
import jax


def instance_norm(name: str, scale_init: jax.nn.initializers.Initializer = nn.initializers.ones) -> nn.InstanceNorm:
    """Every channel of every image to mean 0 and variance 1, times a scale, plus a bias; eps 1e-5 as in PyTorch.

    Statistics are taken in float32, in training as in prediction.
    """
    return nn.InstanceNorm(epsilon=1e-5, use_fast_variance=False, scale_init=scale_init, name=name)
