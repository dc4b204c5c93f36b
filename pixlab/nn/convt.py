"""Transposed convolution whose stride equals its kernel."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.nn.dense import product
from pixlab.nn.upsample import depth_to_space


class UpConv(nn.Module):
    """`factor` x `factor` transposed convolution of stride `factor`: a dense layer per cell, then depth-to-space.

    The tiles do not overlap, so this is the same function as a transposed convolution and cheaper. The kernel is
    [row, column, in, out] with out[factor*i + r, factor*j + s] = x[i, j] @ kernel[r, s] + bias.
    """

    features: int
    factor: int = 2
    kernel_init: jax.nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        n, c = self.factor, x.shape[-1]

        def init(key, shape, dtype):  # one tile cell at a time: its fan-in is c, not n*n*c
            keys = jax.random.split(key, n * n)
            return jax.vmap(lambda k: self.kernel_init(k, shape[2:], dtype))(keys).reshape(shape)

        kernel = self.param("kernel", init, (n, n, c, self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
        flat = kernel.transpose(2, 0, 1, 3).reshape(c, n * n * self.features)
        return depth_to_space(product(x, flat), n) + bias[None, None, None]
