"""AlexNet's convolutions as PyTorch publishes them (Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", arXiv 1404.5997). The 96-filter original with response normalisation is `eigen2014.AlexNetTrunk`.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD, normalise
from pixlab.nn.pool import max_pool

LAYERS = (
    (64, 11, 4, 2),
    (192, 5, 1, 2),
    (384, 3, 1, 1),
    (256, 3, 1, 1),
    (256, 3, 1, 1),
)  # filters, window, stride, pad
MIN_SIZE = 63


class AlexNet(nn.Module):
    """RGB in [0, 1] -> the five ReLU maps "relu1" .. "relu5" and "pool5"; strides 4, 8, 16, 16, 16, 32.

    `mean`, `std`: input normalisation. `around`: zeros around the normalised image beside those that the first
    convolution pads, and `ceil`: pools keep what fills no whole window, as in Caffe (both for FCN). `width` scales all
    channel counts; 2,469,696 parameters at width 1. Raises UserError below 63x63 pixels, those zeros counted in.
    """

    width: float = 1.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    kernel_init: jax.nn.initializers.Initializer = nn.initializers.he_normal()
    around: int = 0
    ceil: bool = False

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> dict[str, Float[Array, "b _ _ _"]]:
        if min(image.shape[1:3]) + 2 * self.around < MIN_SIZE:
            raise UserError(f"AlexNet needs images of at least {MIN_SIZE}x{MIN_SIZE} pixels, got {image.shape[1:3]}")
        x, features = normalise(image, self.mean, self.std), {}
        x = jnp.pad(x, ((0, 0), *((self.around, self.around),) * 2, (0, 0))) if self.around else x
        for index, (channels, window, stride, pad) in enumerate(LAYERS, 1):
            n, pads = max(1, round(channels * self.width)), ((pad, pad), (pad, pad))
            conv = Conv(n, (window, window), stride, pads, kernel_init=self.kernel_init, name=f"conv{index}")
            features[f"relu{index}"] = x = nn.relu(conv(x))
            if index in (1, 2, 5):
                x = max_pool(x, 3, 2, ceil=self.ceil)
        return features | {"pool5": x}
