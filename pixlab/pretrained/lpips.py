"""Weights of LPIPS from a classifier's published file and the release's own small one."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pixlab.errors import UserError
from pixlab.models.alexnet import AlexNet
from pixlab.models.vgg import VGG16
from pixlab.pretrained import imagenet


def lpips(trunk: AlexNet | VGG16, classifier: Mapping[str, np.ndarray], linear: Mapping[str, np.ndarray]) -> Any:
    """What `metrics.lpips.lpips` takes as weights, from two files' contents (`files.read_weights`).

    `classifier`: torchvision's alexnet or vgg16. `linear`: the release's weights/v0.1/alex.pth or vgg.pth, of names
    lin0.model.1.weight to lin4.model.1.weight, [1, c, 1, 1] (those files were written before PyTorch 1.6, and want
    converting first). Raises UserError: names or shapes that do not fit, linear weights below 0.
    """
    shapes = jax.eval_shape(trunk.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    fill = imagenet.alexnet if isinstance(trunk, AlexNet) else imagenet.vgg16
    params = fill(classifier, shapes)[0]
    last = [f"conv{i}" if isinstance(trunk, AlexNet) else f"conv{i}_{n}" for i, n in enumerate((2, 2, 3, 3, 3), 1)]
    found = []
    for index, layer in enumerate(last):
        name, channels = f"lin{index}.model.1.weight", shapes[layer]["bias"].size
        if name not in linear:
            raise UserError(f"these are not LPIPS's linear weights: no {name}; take v0.1/alex.pth or v0.1/vgg.pth")
        if linear[name].shape != (1, channels, 1, 1):
            raise UserError(f"{name} is {linear[name].shape} instead of {(1, channels, 1, 1)}: another trunk's file")
        if linear[name].min() < 0:
            raise UserError(f"{name} has numbers below 0, which LPIPS does not: take the release's v0.1 file")
        found.append(jnp.asarray(linear[name].ravel(), jnp.float32))
    return {"trunk": params, "linear": tuple(found)}
