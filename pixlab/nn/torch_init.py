"""What Torch's and PyTorch's convolutions start from: uniform between -1 and 1 over the square root of the fan-in."""

import flax.linen as nn
import jax

KERNEL = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def bias(fan_in: int) -> jax.nn.initializers.Initializer:
    """The start of the biases of a layer each of whose outputs is a sum over `fan_in` products."""
    edge = fan_in**-0.5

    def init(key, shape, dtype):
        return jax.random.uniform(key, shape, dtype, -edge, edge)

    return init
