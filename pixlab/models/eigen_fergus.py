"""Depth and normals in three scales: Eigen & Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a
Common Multi-Scale Convolutional Architecture", ICCV 2015. The labels network is in eigen_fergus_labels.py.

A scale is a module of its own, so that a training stage can freeze it. For a 228x304 image scale 1 (AlexNet or VGG-16,
two fully connected layers) gives features at 14x19, scale 2 predicts at 55x74, scale 3 refines at 109x147;
`output_positions` says which input pixels those are. Other sizes follow the same rules. Log-depth is natural log
metres, without the 2014 network's division by its deviation. The release multiplies by (1 - rate) at test time what
its dropout left raw in training; linen's dropout scales in training instead, which has the same expectation.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from pixlab.errors import UserError
from pixlab.models.eigen2014 import AlexNetTrunk, Initializer, check_size, fine_size, first_conv, scaled, standardised
from pixlab.models.vgg import VGG16
from pixlab.nn.conv import Conv
from pixlab.nn.dense import Dense
from pixlab.nn.normalise import CAFFE_MEAN, CAFFE_STD, unit_vectors
from pixlab.nn.pool import max_pool
from pixlab.nn.sizing import ceil_windows, centred_padding
from pixlab.nn.upsample import interpolation_matrix, nearest_upsample, triangle_upsample

MIN_SIZE = {"alexnet": 64, "vgg16": 36}  # scale 1's last pool still has a whole window
MIN_FINE = 12  # scales 2 and 3 alone
NORMAL = nn.initializers.normal


def scale_size(size: int, scale: int) -> int:
    """Rows (or columns) of the maps of `scale` 1, 2 or 3 for an input of `size`: 14, 55, 109 for 228.

    Raises UserError where the input is too small for any.
    """
    if size < MIN_FINE:
        raise UserError(f"scales 2 and 3 of Eigen & Fergus 2015 need at least {MIN_FINE} rows and columns, got {size}")
    if scale == 3:
        return ceil_windows(size, 9, 2) - 2
    return fine_size(size) if scale == 2 else -(-fine_size(size) // 4)


def output_positions(size: int, scale: int) -> Int[np.ndarray, " n"]:
    """Input rows (or columns) at which the maps of `scale` lie, for an input of `size`.

    For even sizes 5, 7, 9... at scale 3, 5, 9, 13... at scale 2 and 9, 25, 41... at scale 1, whose last may fall
    outside. Targets are the full-resolution maps at these rows and columns.
    """
    first = 6 - centred_padding(size, 9, 2)[0]
    start, step = {1: (first + 4, 16), 2: (first, 4), 3: (first, 2)}[scale]
    return start + step * np.arange(scale_size(size, scale))


def at_outputs(maps: Shaped[Array, "b h w c"], scale: int) -> Shaped[Array, "b h2 w2 c"]:
    """Maps of the size of the input, at the pixels where the maps of `scale` lie: what these are trained to be."""
    rows, cols = (output_positions(n, scale) for n in maps.shape[1:3])
    return maps[:, rows][:, :, cols]


def enlarge(maps: Float[Array, "b h w c"], size: tuple[int, int], scale: int) -> Float[Array, "b h2 w2 c"]:
    """Maps of `scale` at every pixel of the input of `size` (rows, columns): linear between `output_positions`.

    Beyond the outermost positions the edge value goes on.
    """
    rows, cols = (jnp.asarray(interpolation_matrix(output_positions(n, scale), n), maps.dtype) for n in size)
    return jnp.einsum("ih,jw,bhwc->bijc", rows, cols, maps)


class Scale1(nn.Module):
    """Features of the whole image: [b, h, w, 3] in [0, 1] -> [b, h1, w1, 64] (228x304 -> 14x19).

    `trunk`: "alexnet" or "vgg16", each with its own published input normalisation. `relu=False` and `dropout=0.8` are
    the labels network's. `kernel_init` replaces the published N(0, 0.01) and N(0, 0.001), and `feature_scale` the
    factor before the first fully connected layer; both assume an ImageNet trunk: without one, He's initialisation and
    1 keep the signal alive. Raises UserError below 64x64 (AlexNet) or 36x36 (VGG-16) pixels.
    """

    trunk: Literal["alexnet", "vgg16"] = "vgg16"
    width: float = 1.0
    features: int = 64
    relu: bool = True
    dropout: float = 0.5
    feature_scale: float = 0.01
    kernel_init: Initializer | None = None

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h1 w1 c"]:
        check_size(image, MIN_SIZE[self.trunk], f"scale 1 of Eigen & Fergus 2015 with {self.trunk}")
        h, w = (scale_size(n, 1) for n in image.shape[1:3])
        channels, init = scaled(self.features, self.width), self.kernel_init or NORMAL(0.01)
        if self.trunk == "alexnet":
            x = AlexNetTrunk(self.width, init, name="trunk")(image)
        else:
            x = VGG16(self.width, CAFFE_MEAN, CAFFE_STD, first="VALID", kernel_init=init, name="trunk")(image)[32]
        x = x.reshape(x.shape[0], -1) * self.feature_scale
        x = nn.relu(Dense(scaled(4096, self.width), kernel_init=init, name="fc1")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = Dense(h * w * channels, kernel_init=self.kernel_init or NORMAL(0.001), name="fc2")(x)
        return (nn.relu(x) if self.relu else x).reshape(-1, h, w, channels)


class Stack(nn.Module):
    """`hidden` 5x5 convolutions with ReLU, then a linear one to `out` channels."""

    hidden: int
    channels: int
    out: int
    kernel_init: Initializer | None = None
    bias: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c2"]:
        for index in range(self.hidden):
            init = self.kernel_init or NORMAL(0.01)
            x = nn.relu(Conv(self.channels, (5, 5), kernel_init=init, name=f"conv{index + 2}")(x))
        bias = nn.initializers.constant(self.bias)
        return Conv(self.out, (5, 5), kernel_init=NORMAL(0.01), bias_init=bias, name=f"conv{self.hidden + 2}")(x)


def fine_shape(image: jax.Array) -> tuple[int, int]:
    """Rows and columns of scale 2 for this image."""
    return fine_size(image.shape[1]), fine_size(image.shape[2])


class Head1(nn.Module):
    """Scale 1 alone (the ablation's first row): a 5x5 linear convolution on its enlarged features.

    Image [b, h, w, 3] (for its size only) and scale-1 features -> "log_depth" [b, h2, w2, 1], "normal" [b, h2, w2, 3].
    """

    depth: bool = True
    normals: bool = True
    mean_log_depth: float = 0.0

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"], coarse: Float[Array, "b h1 w1 c"], train: bool = False
    ) -> dict[str, Float[Array, "b h2 w2 _"]]:
        x, out = triangle_upsample(coarse, fine_shape(image)), {}
        if self.depth:
            out["log_depth"] = Stack(0, 0, 1, bias=self.mean_log_depth, name="depth")(x)
        if self.normals:
            out["normal"] = unit_vectors(Stack(0, 0, 3, name="normals")(x))
        return out


class Scale2(nn.Module):
    """Predictions at a quarter: image [b, h, w, 3] in [0, 1] and scale-1 features -> a map per task (228x304 -> 55x74).

    "log_depth" [b, h2, w2, 1] and "normal" [b, h2, w2, 3]. The tasks share the first convolution and have a stack each.
    Depth adds a learned bias per pixel, which starts at `mean_log_depth` (paper: 0). Without `coarse` it is the
    ablation's "scale 2 only".
    """

    depth: bool = True
    normals: bool = True
    width: float = 1.0
    mean_log_depth: float = 0.0
    kernel_init: Initializer | None = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"], coarse: Float[Array, "b h1 w1 c"] | None = None, train: bool = False
    ) -> dict[str, Float[Array, "b h2 w2 _"]]:
        check_size(image, MIN_FINE, "scale 2 of Eigen & Fergus 2015")
        first = first_conv(scaled(96, self.width), image, "conv1", self.kernel_init or NORMAL(0.001))
        x = max_pool(nn.relu(first(standardised(image))), 3, 2)
        if coarse is not None:
            x = jnp.concatenate([triangle_upsample(coarse, fine_shape(image)), x], axis=-1)
        out, channels = {}, scaled(64, self.width)
        if self.depth:
            bias = self.param("depth_bias", nn.initializers.constant(self.mean_log_depth), (*x.shape[1:3], 1))
            stack = Stack(3, channels, 1, self.kernel_init, name="depth")
            out["log_depth"] = stack(x) + bias[None].astype(x.dtype)
        if self.normals:
            out["normal"] = unit_vectors(Stack(3, channels, 3, self.kernel_init, name="normals")(x))
        return out


def _scale3_input(channels: int, image, coarse: list[jax.Array], kernel_init: Initializer | None) -> jax.Array:
    """The scale-2 predictions, repeated 2x2 and without gradient, then image features; `channels` in all."""
    h, w = (scale_size(n, 3) for n in image.shape[1:3])
    first = first_conv(channels, image, "conv1", kernel_init or NORMAL(0.001))
    x = max_pool(nn.relu(first(standardised(image))), 3, 1)
    coarse = [jax.lax.stop_gradient(nearest_upsample(c)[:, :h, :w]) for c in coarse]
    return jnp.concatenate([*coarse, x[..., sum(c.shape[-1] for c in coarse) :]], axis=-1)


class Scale3(nn.Module):
    """Predictions at a half: image [b, h, w, 3] in [0, 1] and scale 2's predictions -> maps (228x304 -> 109x147).

    Takes log-depth, normals or both, as scale 2 gives them, and refines what it is given. No gradient reaches scale 2.
    The first of the 64 image channels are dropped so that predictions and features make 64. `mean_log_depth` starts the
    bias of the last depth convolution (paper: 0).
    """

    width: float = 1.0
    mean_log_depth: float = 0.0
    kernel_init: Initializer | None = None

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        log_depth: Float[Array, "b h2 w2 1"] | None = None,
        normal: Float[Array, "b h2 w2 3"] | None = None,
        train: bool = False,
    ) -> dict[str, Float[Array, "b h3 w3 _"]]:
        check_size(image, MIN_FINE, "scale 3 of Eigen & Fergus 2015")
        channels, out = scaled(64, self.width), {}
        coarse = [c for c in (log_depth, normal) if c is not None]
        if not coarse:
            raise UserError(
                "scale 3 of Eigen & Fergus 2015 refines scale 2's predictions: give log_depth, normal or both"
            )
        x = _scale3_input(channels, image, coarse, self.kernel_init)
        if log_depth is not None:
            out["log_depth"] = Stack(2, channels, 1, self.kernel_init, self.mean_log_depth, name="depth")(x)
        if normal is not None:
            out["normal"] = unit_vectors(Stack(2, channels, 3, self.kernel_init, name="normals")(x))
        return out
