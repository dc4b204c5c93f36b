"""DeepPose: Toshev & Szegedy, "DeepPose: Human Pose Estimation via Deep Neural Networks", CVPR 2014 (arXiv 1312.4659).

A network sees the whole person and answers with coordinates. Further stages look again: each joint has a network of
its own, which sees the square around where the joint is thought to be and answers with where in it the joint lies.
They learn on squares that lie beside the joint as the stage before is wrong: displacements are drawn from a normal
distribution with the mean and the covariance of its errors.

The networks are AlexNet's: 11x11 convolution of stride 4 to 96 maps, 5x5 to 256, each with response normalisation and
3x3 max-pool, 3x3 to 384, 384 and 256, pool, two layers of 4096, linear output. Layers as remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.models.eigen2014 import AlexNetTrunk, check_size, scaled
from pixlab.nn.boxes import box_crops
from pixlab.nn.dense import Dense

MIN_SIZE = 64  # pixels; the last pool still has a whole window
INIT = nn.initializers.he_normal()


class Regressor(nn.Module):
    """RGB image [b, h, w, 3] in [0, 1] -> numbers [b, outputs], small at first.

    `width` scales all channel counts, `dropout` is the part of the two hidden layers' units that training leaves out,
    `feature_scale` brings what the convolutions make of 0..255 near 1. Raises UserError below 64x64 pixels.
    """

    outputs: int
    width: float = 1.0
    dropout: float = 0.6
    feature_scale: float = 0.01

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b n"]:
        check_size(image, MIN_SIZE, "DeepPose's network")
        trunk = AlexNetTrunk(self.width, INIT, normalise_first=True, padding="SAME", name="trunk")
        x = trunk(image) * self.feature_scale
        x = x.reshape(x.shape[0], -1)
        for name in ("fc1", "fc2"):
            x = nn.relu(Dense(scaled(4096, self.width), kernel_init=INIT, name=name)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Dense(self.outputs, kernel_init=nn.initializers.normal(0.01), name="fc3")(x)


class JointRegressors(nn.Module):
    """A picture for each joint [b, k, h, w, 3] -> an (x, y) for each [b, k, 2].

    Each joint has its own Regressor, with parameters [k, ...]; with `shared` all go through one, whose last layer alone
    has outputs of each joint's own. One joint comes after the other: at once, their convolutions become one in groups,
    which takes XLA:CPU three times as long.
    """

    joints: int
    width: float = 1.0
    dropout: float = 0.6
    shared: bool = False

    @nn.compact
    def __call__(self, crops: Float[Array, "b k h w 3"], train: bool = False) -> Float[Array, "b k 2"]:
        if self.shared:
            b, k, *size = crops.shape
            net = Regressor(2 * k, self.width, self.dropout, name="regressor")
            every = net(crops.reshape(b * k, *size), train).reshape(b, k, k, 2)
            return jnp.diagonal(every, axis1=1, axis2=2).swapaxes(1, 2)
        each = nn.scan(
            lambda net, done, crop: (done, net(crop, train)), in_axes=1, out_axes=1, length=self.joints,
            variable_axes={"params": 0}, split_rngs={"params": True, "dropout": True},
        )  # fmt: skip
        return each(Regressor(2, self.width, self.dropout, name="regressors"), None, crops)[1]


def normalised(
    places: Float[Array, "b k 2"],
    centre: Float[Array, "*_ 2"],
    side: Float[Array, "*_"],
) -> Float[Array, "b k 2"]:
    """N(y; b): places in pixels as seen from a box's centre, in its sides; inside are -1/2 to 1/2."""
    return (places - centre) / side


def in_pixels(
    places: Float[Array, "b k 2"],
    centre: Float[Array, "*_ 2"],
    side: Float[Array, "*_"],
) -> Float[Array, "b k 2"]:
    """N^-1(y; b): the inverse of `normalised`."""
    return places * side + centre


def refined(
    net: Callable[[Float[Array, "b k n n 3"]], Float[Array, "b k 2"]],
    image: Float[Array, "b h w 3"],
    places: Float[Array, "b k 2"],
    side: Float[Array, " b"],
    size: int,
) -> Float[Array, "b k 2"]:
    """Where each joint lies by a look at the square of `side` pixels around where it is thought to lie.

    `net` sees the squares at `size` x `size` and says where in them the joint is, in sides from their centre.
    """
    sides = jnp.broadcast_to(side[:, None], places.shape[:2])
    return in_pixels(net(box_crops(image, places, sides, size)), places, sides[..., None])


class Errors(NamedTuple):
    """Decayed sums over images of each joint's errors: their number, themselves, their products."""

    number: Float[Array, " k"]
    total: Float[Array, "k 2"]
    products: Float[Array, "k 2 2"]


def no_errors(joints: int) -> Errors:
    """Nothing seen yet."""
    return Errors(jnp.zeros(joints), jnp.zeros((joints, 2)), jnp.zeros((joints, 2, 2)))


def counted(errors: Errors, new: Float[Array, "b k 2"], known: Float[Array, "b k"], decay: float = 0.999) -> Errors:
    """With the errors of a batch; what came earlier weighs `decay` times as much as before."""
    new = jnp.where(known[..., None] > 0, new, 0.0)
    sums = known.sum(0), new.sum(0), jnp.einsum("bki,bkj->kij", new, new)
    return Errors(*(decay * old + one for old, one in zip(errors, sums, strict=True)))


def moments(errors: Errors) -> tuple[Float[Array, "k 2"], Float[Array, "k 2 2"]]:
    """(mean, covariance) of each joint's errors; 0 for a joint that was never known."""
    number = jnp.maximum(errors.number, 1e-6)[:, None]
    mean = errors.total / number
    return mean, errors.products / number[..., None] - mean[:, :, None] * mean[:, None]


def displacements(key: jax.Array, errors: Errors, images: int) -> Float[Array, "{images} k 2"]:
    """Errors drawn from each joint's normal distribution."""
    mean, covariance = moments(errors)
    # The Cholesky factor by hand: a covariance of one or two images has no inverse, and rounding may take it below 0.
    across = jnp.sqrt(jnp.maximum(covariance[:, 0, 0], 0))
    slope = jnp.where(across > 0, covariance[:, 0, 1] / jnp.where(across > 0, across, 1), 0)
    down = jnp.sqrt(jnp.maximum(covariance[:, 1, 1] - slope**2, 0))
    x, y = jax.random.normal(key, (2, images, mean.shape[0]))
    return mean[None] + jnp.stack([across[None] * x, slope[None] * x + down[None] * y], -1)
