"""Input normalisations that published weights expect, for RGB images in [0, 1]."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB, the statistics that PyTorch's published classifiers were trained with
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)  # RGB; Caffe's VGG subtracts it from 0..255 images
CAFFENET_MEAN = (122.67892 / 255, 116.66877 / 255, 104.00699 / 255)  # RGB; of ILSVRC 2012, for FCN and HED
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)


def normalise(image: Float[Array, "b h w c"], mean: Sequence[float], std: Sequence[float]) -> Float[Array, "b h w c"]:
    """(image - mean) / std per channel, in the image's own type."""
    mean, std = (jnp.asarray(v, image.dtype)[None, None, None] for v in (mean, std))
    return (image - mean) / std


def unit_vectors(x: Float[Array, "b h w 3"], *, eps: float = 1e-4) -> Float[Array, "b h w 3"]:
    """Vectors divided by sqrt(|x|^2 + eps): unit length, but smooth and zero at zero (Eigen & Fergus 2015)."""
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + eps)
