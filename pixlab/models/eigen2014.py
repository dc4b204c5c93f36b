"""Depth in two scales: Eigen, Puhrsch & Fergus, "Depth Map Prediction from a Single Image using a Multi-Scale Deep
Network", NIPS 2014.

A coarse network (AlexNet and two fully connected layers) sees the whole image and gives a 55x74 map for a 228x304
image; a fine network refines it. Both speak standardised log-depth, log(depth) / LOG_DEPTH_STD, inside and log-depth
outside. The release multiplies by 0.5 at test time what its dropout left raw in training; linen's dropout scales in
training instead, which has the same expectation.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.nn.conv import Conv
from pixlab.nn.dense import Dense
from pixlab.nn.lrn import local_response_norm
from pixlab.nn.pool import max_pool
from pixlab.nn.sizing import ceil_windows, centred_padding

LOG_DEPTH_STD = 0.45723  # of the release's NYU training set
LOG_DEPTH_MEAN = 0.82474
IMAGE_MEAN, IMAGE_STD = 109.314, 76.183  # of 0..255 images; the fine scales' input normalisation
MIN_SIZE = 64  # the last pool of the coarse network still has a whole window

Initializer = jax.nn.initializers.Initializer


def uniform(scale: float) -> Initializer:
    """Uniform between -scale and scale."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -scale, scale)


def scaled(channels: int, width: float) -> int:
    """A published channel count at another width: whole sixteens, or 8, so that dropped channels leave something.

    XLA:CPU takes up to eight times as long for a 9x9 convolution of colours to 24 channels as for one to 16.
    """
    return channels if width == 1 else max(8, int(channels * width) // 16 * 16)


def check_size(image: jax.Array, minimum: int, what: str) -> None:
    """Raises UserError if the image is smaller than `minimum` on a side."""
    if min(image.shape[1:3]) < minimum:
        raise UserError(
            f"{what} needs images of at least {minimum}x{minimum} pixels, got {image.shape[1]}x{image.shape[2]}"
        )


def standardised(image: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """RGB in [0, 1] as the fine scales want it."""
    return (image * 255.0 - IMAGE_MEAN) / IMAGE_STD


def fine_size(size: int) -> int:
    """Rows (or columns) of the fine map for an input of `size`: 55 for 228, 74 for 304."""
    return (ceil_windows(size, 9, 2) - 3) // 2 + 1


def first_conv(channels: int, image: jax.Array, name: str, kernel_init: Initializer) -> nn.Conv:
    """The 9x9 stride-2 convolution that opens a fine scale, sized as cuda-convnet does (228 -> 111)."""
    pads = [centred_padding(n, 9, 2) for n in image.shape[1:3]]
    return Conv(channels, (9, 9), strides=2, padding=pads, kernel_init=kernel_init, name=name)


class AlexNetTrunk(nn.Module):
    """The convolutions of AlexNet without groups, as cuda-convnet ran them: RGB in [0, 1] -> pool5.

    6x8x256 for 228x304. Pooling comes before ReLU, and response normalisation after both or, with `normalise_first`,
    before pooling. `padding` of the first convolution: zeros that complete its last window, or SAME (a cell for every
    4 pixels). 96, 256, 384, 384, 256 filters: torchvision's AlexNet (64, 192, ...) does not fit.
    """

    width: float = 1.0
    kernel_init: Initializer = nn.initializers.normal(0.01)
    normalise_first: bool = False
    padding: Literal["complete", "SAME"] = "complete"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b h2 w2 c"]:
        def conv(x, index, channels, window, **options):
            size = (window, window)
            return Conv(
                scaled(channels, self.width), size, kernel_init=self.kernel_init, name=f"conv{index}", **options
            )(x)

        def pool(x):
            if self.normalise_first:
                return max_pool(local_response_norm(nn.relu(x)), 3, 2)
            return local_response_norm(nn.relu(max_pool(x, 3, 2)))

        pads = "SAME" if self.padding == "SAME" else [centred_padding(n, 11, 4) for n in image.shape[1:3]]
        x = pool(conv(image * 255.0 - 128.0, 1, 96, 11, strides=4, padding=pads))
        x = pool(conv(x, 2, 256, 5))
        x = nn.relu(conv(x, 3, 384, 3))
        x = nn.relu(conv(x, 4, 384, 3))
        return nn.relu(max_pool(conv(x, 5, 256, 3), 3, 2))


class Coarse(nn.Module):
    """Coarse log-depth of the whole image: [b, h, w, 3] in [0, 1] -> [b, h2, w2, 1] (228x304 -> 55x74).

    `mean_log_depth` starts the output's bias. `kernel_init` replaces the published initialisation of the hidden layers,
    which assumes an ImageNet trunk (He's is a choice when there is none). Raises UserError below 64x64 pixels.
    """

    width: float = 1.0
    mean_log_depth: float = 0.0
    feature_scale: float = 0.01
    kernel_init: Initializer | None = None

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h2 w2 1"]:
        check_size(image, MIN_SIZE, "the coarse network of Eigen et al. 2014")
        h, w = (fine_size(n) for n in image.shape[1:3])
        init = self.kernel_init or nn.initializers.normal(0.01)
        x = AlexNetTrunk(self.width, init, name="trunk")(image) * self.feature_scale
        x = nn.relu(Dense(scaled(4096, self.width), kernel_init=init, name="fc1")(x.reshape(x.shape[0], -1)))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        bias = nn.initializers.constant(self.mean_log_depth / LOG_DEPTH_STD)
        x = Dense(h * w, kernel_init=uniform(0.005), bias_init=bias, name="fc2")(x)
        return x.reshape(-1, h, w, 1) * LOG_DEPTH_STD


class Fine(nn.Module):
    """Refined log-depth: image [b, h, w, 3] in [0, 1] and coarse log-depth [b, h2, w2, 1] -> [b, h2, w2, 1].

    The first of the 64 image channels is dropped in favour of the coarse map. Map row i lies at `output_positions`
    of eigen_fergus, scale 2.
    """

    width: float = 1.0
    mean_log_depth: float = 0.0
    kernel_init: Initializer | None = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"], coarse: Float[Array, "b h2 w2 1"], train: bool = False
    ) -> Float[Array, "b h2 w2 1"]:
        check_size(image, 12, "the fine network of Eigen et al. 2014")
        channels, small = scaled(64, self.width), nn.initializers.normal(0.01)
        first = first_conv(channels, image, "conv1", self.kernel_init or nn.initializers.normal(0.001))
        x = max_pool(nn.relu(first(standardised(image))), 3, 2)
        x = jnp.concatenate([x[..., 1:], coarse / LOG_DEPTH_STD], axis=-1)
        x = nn.relu(Conv(channels, (5, 5), kernel_init=self.kernel_init or small, name="conv2")(x))
        bias = nn.initializers.constant(self.mean_log_depth / LOG_DEPTH_STD)
        return Conv(1, (5, 5), kernel_init=small, bias_init=bias, name="conv3")(x) * LOG_DEPTH_STD
