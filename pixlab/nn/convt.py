"""Transposed convolutions, computed without the zeros that they put between cells."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.nn.conv import conv_general_dilated
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


def he_transposed(stride: int) -> jax.nn.initializers.Initializer:
    """He's normal distribution for transposed convolutions, of whose window^2 c weights an output pixel meets only the
    part 1 / stride^2, or that on average."""
    return nn.initializers.variance_scaling(2 * stride**2, "fan_in", "truncated_normal")


class TransposedConv(nn.Module):
    """PyTorch's ConvTranspose2d: x[i, j] @ kernel[r, s] adds to out[stride i + r - padding, stride j + s - padding].

    The output has stride (h - 1) + window - 2 padding + output_padding rows. The kernel is [row, column, in, out]. Of a
    window's rows, every output row meets those of one phase alone: this is a convolution of ceil(window / stride) rows
    and columns to stride^2 times the channels, then depth-to-space.
    """

    features: int
    window: int
    stride: int
    padding: int = 0
    output_padding: int = 0
    use_bias: bool = True
    kernel_init: jax.nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        c, c2, s = x.shape[-1], self.features, self.stride
        kernel = self.param("kernel", self.kernel_init, (self.window, self.window, c, c2), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (c2,), jnp.float32) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
        n = -(-self.window // s)
        kernel = jnp.pad(kernel, (*((0, n * s - self.window),) * 2, (0, 0), (0, 0)))
        phases = kernel.reshape(n, s, n, s, c, c2)[::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5)
        size = [s * (m - 1) + self.window - 2 * self.padding + self.output_padding for m in x.shape[1:3]]
        first = self.padding // s  # cells of the output that lie wholly in the padding
        pads = [(n - 1 - first, -(-(out + self.padding) // s) - m) for out, m in zip(size, x.shape[1:3], strict=True)]
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))  # as pads of the convolution, XLA:CPU's gradient takes seconds
        cells = conv_general_dilated(
            x, phases.reshape(n, n, c, s * s * c2), (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"),
            lhs_dilation=(1, 1), rhs_dilation=(1, 1), feature_group_count=1, precision=None,
        )  # fmt: skip
        top = self.padding - s * first
        out = depth_to_space(cells, s)[:, top : top + size[0], top : top + size[1]]
        return out if bias is None else out + bias[None, None, None]
