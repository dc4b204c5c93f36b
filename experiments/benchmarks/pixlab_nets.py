"""The networks of train_step.py and restoration.py in pixlab; torch_nets.py has the same in PyTorch."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from pixlab.models.edsr import EDSR
from pixlab.models.eigen_fergus import Scale1, Scale2
from pixlab.models.fsrcnn import FSRCNN
from pixlab.models.segnet import SegNet
from pixlab.models.segnet_basic import SegNetBasic
from pixlab.models.srcnn import SRCNN
from pixlab.models.unet import UNet
from pixlab.models.vdsr import VDSR
from pixlab.models.vgg import VGG16
from pixlab.nn.conv import Conv


class Encoder(nn.Module):
    """VGG-16 up to pool5, without the input's normalisation."""

    @nn.compact
    def __call__(self, x, train=False):
        return VGG16(mean=(0.0,) * 3, std=(1.0,) * 3)(x)[32]


class Block(nn.Module):
    """The residual block of EDSR's baseline."""

    @nn.compact
    def __call__(self, x, train=False):
        return x + Conv(64, (3, 3))(nn.relu(Conv(64, (3, 3))(x)))


class EigenFergus(nn.Module):
    """Scales 1 and 2 with AlexNet's trunk, without dropout."""

    @nn.compact
    def __call__(self, x, train=False):
        maps = Scale2()(x, Scale1("alexnet", dropout=0.0)(x))
        return jnp.concatenate([maps["log_depth"], maps["normal"]], -1)


def pixlab_net(name: str) -> nn.Module:
    """The network of that name."""
    return {
        "unet": UNet(1, base=32, rate=0.0),
        "srcnn": SRCNN((9, 5, 5), padding="SAME"),
        "vgg16": Encoder(),
        "edsr": Block(),
        "alexnet": EigenFergus(),
        "segnet": SegNet(11),
        "segnet_basic": SegNetBasic(11),
        "srcnn_915": SRCNN((9, 1, 5)),
        "fsrcnn": FSRCNN(3),
        "vdsr": VDSR(),
        "edsr_baseline": EDSR(2),
    }[name]
