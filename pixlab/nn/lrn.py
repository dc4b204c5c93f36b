"""Local response normalisation."""

import jax
from jaxtyping import Array, Float


def local_response_norm(
    x: Float[Array, "b h w c"], *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Float[Array, "b h w c"]:
    """x / (k + alpha/size * sum of squares over the `size` nearest channels)^beta (Krizhevsky et al. 2012, 3.3).

    `alpha` is divided by `size`, as cuda-convnet, Caffe and PyTorch do.
    """
    half = size // 2
    window, pads = (1, 1, 1, size), ((0, 0), (0, 0), (0, 0), (half, size - 1 - half))
    squares = jax.lax.reduce_window(x * x, 0.0, jax.lax.add, window, (1, 1, 1, 1), pads)
    return x * (k + alpha / size * squares) ** -beta
