"""SegNet: Badrinarayanan, Kendall & Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
Segmentation", TPAMI 2017 (arXiv 1511.00561), as in the authors' Caffe release.

The statistics that the paper tests with are not running ones: after training, means and variances of every batch
normalisation are averaged over the batches of the whole training set, as `pixlab.batch_statistics` does.
"""

import functools

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from pixlab.models.eigen2014 import scaled
from pixlab.models.resnet import batch_norm
from pixlab.models.vgg import BLOCKS
from pixlab.nn.conv import Conv
from pixlab.nn.unpool import max_pool_places, unpool

he = nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # Caffe's "msra": not cut off
norm = functools.partial(batch_norm, bias_init=nn.initializers.constant(1e-3))  # shifts as in the release


class SegNet(nn.Module):
    """RGB [b, h, w, c] in [0, 1] -> class scores [b, h, w, classes], linear, for images of any size.

    The encoder is VGG-16's convolutions, each with batch normalisation and ReLU, and five 2x2 pools, rounded up, that
    remember places; the decoder goes the same way back: each block unpools to the size before the pool and convolves
    as often, its last convolution already to the channels of the block above; the very last one gives the scores.
    29,449,355 parameters at `width` 1, which scales all channels but the scores, and 11 classes. The network sees
    255 times the image without a mean taken off, as the release does. `scores_init` starts the last convolution.
    """

    classes: int
    width: float = 1.0
    scores_init: nn.initializers.Initializer = he

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h w classes"]:
        def layer(x: jax.Array, channels: int, name: str) -> jax.Array:
            x = Conv(scaled(channels, self.width), (3, 3), kernel_init=he, name=name)(x)
            return nn.relu(norm(train, f"{name}_bn")(x))

        x, pools = 255 * image, []
        for block, (channels, convs) in enumerate(BLOCKS, 1):
            for index in range(1, convs + 1):
                x = layer(x, channels, f"conv{block}_{index}")
            size = x.shape[1:3]
            x, places = max_pool_places(x)
            pools.append((places, size))
        for block, (channels, convs) in reversed(list(enumerate(BLOCKS, 1))):
            x = unpool(x, *pools.pop())
            for index in range(convs, 1, -1):
                x = layer(x, channels, f"conv{block}_{index}_D")
            if block > 1:
                x = layer(x, BLOCKS[block - 2][0], f"conv{block}_1_D")
        return Conv(self.classes, (3, 3), kernel_init=self.scores_init, name="out")(x)
