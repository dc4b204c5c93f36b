"""Max pooling with the roundings and paddings of published networks."""

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.nn.sizing import ceil_windows


def max_pool(
    x: Float[Array, "b h w c"], window: int, stride: int, *, padding: int = 0, ceil: bool = False
) -> Float[Array, "b h2 w2 c"]:
    """Max over `window` x `window` windows, `stride` apart.

    `padding` cells on every side never win. Without `ceil` the rows that fill no whole window are dropped (PyTorch,
    cuda-convnet as Eigen used it); with `ceil` the last window may hang over the end (Caffe).
    """
    sides = []
    for size in x.shape[1:3]:
        after = padding
        if ceil:
            count = ceil_windows(size + 2 * padding, window, stride)
            if (count - 1) * stride >= size + padding:  # a window that would start in the padding is dropped
                count -= 1
            after = (count - 1) * stride + window - size - padding
        sides.append((padding, max(after, 0)))
    return nn.max_pool(x, window_shape=(window, window), strides=(stride, stride), padding=sides)
