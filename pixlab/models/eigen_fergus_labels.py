"""The labels network of Eigen & Fergus, ICCV 2015: scales 2 and 3; scale 1 is `Scale1(relu=False, dropout=0.8)`.

Trained separately from depth and normals. Colour alone, or colour with depth and normals, measured or predicted; depth
and normals come at the size of the image (`eigen_fergus.enlarge` brings predictions there). The number of filters of
the first convolutions is published for colour only; 32 each for depth and normals is a choice.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.models.eigen2014 import Initializer, check_size, first_conv, scaled, standardised
from pixlab.models.eigen_fergus import MIN_FINE, NORMAL, Stack, fine_shape, scale_size
from pixlab.nn.pool import max_pool
from pixlab.nn.upsample import nearest_upsample, triangle_upsample


class _First(nn.Module):
    """Separate 9x9 convolutions on colour, log-depth and normals, each max-pooled; then concatenated and rectified."""

    colour: int
    geometry: int
    stride: int
    width: float
    kernel_init: Initializer | None

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        depth: Float[Array, "b h w 1"] | None,
        normal: Float[Array, "b h w 3"] | None,
    ) -> Float[Array, "b h2 w2 c"]:
        inputs = [("conv1", self.colour, standardised(image))]
        if depth is not None:
            inputs.append(("conv1_depth", self.geometry, jnp.log(depth + 1e-4)))
        if normal is not None:
            inputs.append(("conv1_normal", self.geometry, normal))
        init = self.kernel_init or NORMAL(0.001)
        maps = [first_conv(scaled(c, self.width), image, name, init)(x) for name, c, x in inputs]
        return nn.relu(jnp.concatenate([max_pool(x, 3, self.stride) for x in maps], axis=-1))


class LabelsHead1(nn.Module):
    """Scale 1 alone: a 5x5 linear convolution on its enlarged features [b, h1, w1, c] -> "logits" [b, h2, w2, n].

    The paper's ablation does not describe this head. The image [b, h, w, 3] is taken for its size only.
    """

    classes: int

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"], coarse: Float[Array, "b h1 w1 c"], train: bool = False
    ) -> dict[str, Float[Array, "b h2 w2 n"]]:
        return {"logits": Stack(0, 0, self.classes, name="labels")(triangle_upsample(coarse, fine_shape(image)))}


class LabelsScale2(nn.Module):
    """Class scores at a quarter: [b, h, w, 3] in [0, 1] -> "logits" [b, h2, w2, classes] (228x304 -> 55x74).

    `coarse`: scale-1 features [b, h1, w1, c], None for scale 2 alone. `depth` [b, h, w, 1] in metres and `normal`
    [b, h, w, 3], zero where unknown, are optional; what is given at the start must be given always. Class 0 is "none".
    """

    classes: int
    width: float = 1.0
    geometry: int = 32
    kernel_init: Initializer | None = None

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        coarse: Float[Array, "b h1 w1 c"] | None = None,
        depth: Float[Array, "b h w 1"] | None = None,
        normal: Float[Array, "b h w 3"] | None = None,
        train: bool = False,
    ) -> dict[str, Float[Array, "b h2 w2 n"]]:
        check_size(image, MIN_FINE, "scale 2 of Eigen & Fergus 2015")
        x = _First(96, self.geometry, 2, self.width, self.kernel_init, name="first")(image, depth, normal)
        if coarse is not None:
            x = jnp.concatenate([triangle_upsample(coarse, fine_shape(image)), x], axis=-1)
        return {"logits": Stack(3, scaled(64, self.width), self.classes, self.kernel_init, name="labels")(x)}


class LabelsScale3(nn.Module):
    """Class scores at a half: image and scale 2's "logits" -> "logits" [b, h3, w3, classes] (228x304 -> 109x147).

    Scale 2 enters as softmax probabilities, repeated 2x2, without gradient. Other inputs as for `LabelsScale2`.
    """

    classes: int
    width: float = 1.0
    geometry: int = 32
    kernel_init: Initializer | None = None

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        logits: Float[Array, "b h2 w2 n"],
        depth: Float[Array, "b h w 1"] | None = None,
        normal: Float[Array, "b h w 3"] | None = None,
        train: bool = False,
    ) -> dict[str, Float[Array, "b h3 w3 n"]]:
        check_size(image, MIN_FINE, "scale 3 of Eigen & Fergus 2015")
        h, w = (scale_size(n, 3) for n in image.shape[1:3])
        x = _First(64, self.geometry, 1, self.width, self.kernel_init, name="first")(image, depth, normal)
        probabilities = jax.lax.stop_gradient(nearest_upsample(jax.nn.softmax(logits))[:, :h, :w])
        x = jnp.concatenate([probabilities, x], axis=-1)
        return {"logits": Stack(2, scaled(64, self.width), self.classes, self.kernel_init, name="labels")(x)}
