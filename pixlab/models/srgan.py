"""SRGAN's discriminator: Ledig et al., CVPR 2017 (arXiv 1609.04802), figure 4. Its generator is `srresnet.SRResNet`."""

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.models.resnet import batch_norm
from pixlab.nn.conv import Conv
from pixlab.nn.dense import Dense

LAYERS = ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2))  # channels by width, stride
HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # the paper names no initialisation


class Discriminator(nn.Module):
    """Image at high resolution [b, h, w, c] in [0, 1] -> logit [b] of its being real rather than made.

    The image goes to [-1, 1]; eight 3x3 convolutions, batch normalisation after all but the first, leaky ReLU of slope
    0.2 after each; dense to 16 `width`, leaky ReLU, dense to 1. The sigmoid is left to the losses. Images have the size
    that the dense layer was made for, 96x96 in the paper.
    """

    width: int = 64

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], train: bool = False) -> Float[Array, " b"]:
        x = 2 * image - 1
        for index, (channels, stride) in enumerate(LAYERS, 1):
            n, pads, first = channels * self.width, ((1, 1), (1, 1)), index == 1
            x = Conv(n, (3, 3), stride, pads, use_bias=first, kernel_init=HE, name=f"conv{index}")(x)
            x = x if first else batch_norm(train, f"bn{index}")(x)
            x = nn.leaky_relu(x, 0.2)
        x = Dense(16 * self.width, kernel_init=HE, name="dense1")(x.reshape(x.shape[0], -1))
        return Dense(1, kernel_init=HE, name="dense2")(nn.leaky_relu(x, 0.2))[:, 0]
