"""LPIPS: how different two pictures look, by a classifier's features weighed as people judged.

Zhang, Isola, Efros, Shechtman & Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR
2018, version 0.1 of the release. `pixlab.pretrained.lpips` reads the trunk's weights and the release's linear ones from
the user's own files.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.core import Batch, Metric, Tree
from pixlab.errors import UserError
from pixlab.models.alexnet import AlexNet
from pixlab.models.vgg import VGG16

EPS = 1e-10
MIN_SIZE = 32  # of VGG-16; AlexNet says itself what it needs


def lpips(
    trunk: AlexNet | VGG16, weights: Tree, a: Float[Array, "b h w 3"], b: Float[Array, "b h w 3"]
) -> Float[Array, " b"]:
    """Distance of each RGB image in [0, 1] from its counterpart: the paper's eq. 1, summed over five layers.

    `weights` are {"trunk": parameters of `trunk`, "linear": five arrays [c], one number per channel of each layer}.
    The layers are AlexNet's five ReLUs, or VGG-16's relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3; each pixel's
    features are divided by their length, and the weighed squares of differences averaged over pixels. Raises
    UserError: images too small for the trunk.
    """
    if min(a.shape[1:3]) < MIN_SIZE:
        raise UserError(f"LPIPS needs images of at least {MIN_SIZE}x{MIN_SIZE} pixels, got {a.shape[1:3]}")
    with jax.default_matmul_precision("float32"):
        maps = trunk.apply({"params": weights["trunk"]}, jnp.concatenate([a, b]))
    layers = list(maps.values())[:-1]  # the last is the pool's
    distance = jnp.zeros(len(a))
    for layer, weight in zip(layers, weights["linear"], strict=True):
        features = layer / (jnp.linalg.norm(layer, axis=-1, keepdims=True) + EPS)
        square = (features[: len(a)] - features[len(a) :]) ** 2
        distance += (square * weight[None, None, None]).sum(-1).mean((1, 2))
    return distance


def lpips_metric(trunk: AlexNet | VGG16, weights: Tree) -> Metric:
    """Mean over images of "lpips" between prediction["high"] and example["high"], RGB [h, w, 3] in [0, 1].

    Predictions are clipped to [0, 1], as saved pictures are. Raises UserError as `lpips` does.
    """

    def stats(prediction: Batch, example: Batch) -> Tree:
        a = jnp.clip(prediction["high"], 0, 1)[None]
        b = jnp.broadcast_to(example["high"][None], a.shape)  # of a grey photo the truth has one channel
        return {"lpips": lpips(trunk, weights, a, b)[0], "images": jnp.ones(())}

    return Metric(stats, lambda total: {"lpips": float(total["lpips"] / total["images"])})
