"""DeepLab on VGG-16, without its CRF: LargeFOV of Chen, Papandreou, Kokkinos, Murphy & Yuille, ICLR 2015 (arXiv
1412.7062), and atrous spatial pyramid pooling (ASPP) of their TPAMI 2018 paper (arXiv 1606.00915).

Pools that halve drop a last half window as PyTorch's do, so that cell i always lies on pixel 8 i; Caffe adds a cell to
maps of even size, which the sizes of the papers, 32 k - 31, never lead to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pixlab.models.dilated_vgg import DilatedVGG16, he
from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD
from pixlab.nn.upsample import interpolated, resize_corners

LARGE_FOV = (12,)  # dilations of fc6
ASPP_S = (2, 4, 8, 12)
ASPP_L = (6, 12, 18, 24)
STRIDE = 8


class DeepLab(nn.Module):
    """RGB in [0, 1] [b, h, w, 3] -> class scores [b, ceil(h / 8), ceil(w / 8), classes], linear; 321 gives 41.

    For each of `rates` a branch of fc6 (3x3, dilated by the rate), fc7 and fc8 (1x1); their scores are summed. With 21
    classes at width 1, which scales all channels but the classes, LARGE_FOV has 20,505,429 parameters and ASPP_L and
    ASPP_S have 37,877,652. `pool5a`: a 3x3 mean after pool5, which LargeFOV has and the ASPP networks have not; by
    default so. Dropout `rate` after fc6 and fc7. Labels come from `losses.segmentation.strided_labels`, scores of the
    image's size from `nn.upsample.resize_corners` where that is 8 k + 1.
    """

    classes: int
    rates: Sequence[int] = LARGE_FOV
    pool5a: bool | None = None
    width: float = 1.0
    rate: float = 0.5
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h2 w2 classes"]:
        features = DilatedVGG16(width=self.width, mean=self.mean, std=self.std, name="trunk")(image)
        pool5a = len(self.rates) == 1 if self.pool5a is None else self.pool5a
        if pool5a:
            features = nn.avg_pool(features, (3, 3), (1, 1), "SAME")
        n, scores = max(1, round(1024 * self.width)), []
        for rate in self.rates:
            x = features
            for name, window, dilation in (("fc6", 3, rate), ("fc7", 1, 1)):
                conv = Conv(n, (window, window), kernel_dilation=dilation, kernel_init=he, name=f"{name}_{rate}")
                x = nn.Dropout(self.rate, deterministic=not train)(nn.relu(conv(x)))
            scores.append(classifier(self.classes, name=f"fc8_{rate}")(x))
        return sum(scores)


def classifier(classes: int, window: int = 1, dilation: int = 1, name: str | None = None) -> nn.Conv:
    """The convolution that gives scores; it starts from N(0, 0.01^2)."""
    init = jax.nn.initializers.normal(0.01)
    return Conv(classes, (window, window), kernel_dilation=dilation, kernel_init=init, name=name)


def multi_scale(
    scores_of: Callable[[Float[Array, "b h w 3"]], Float[Array, "b h2 w2 classes"]],
    image: Float[Array, "b h w 3"],
    *,
    scales: Sequence[float] = (0.5, 0.75, 1.0),
) -> tuple[Float[Array, "b h2 w2 classes"], list[Float[Array, "b _ _ classes"]]]:
    """Scores of the image at each scale by one network: (fused to the size that the image itself gives, one by one).

    Sizes are (n - 1) * scale + 1: 161 and 241 for 321. Images are interpolated with corners aligned, scores where their
    cells lie, and the larger score of the scales wins, class by class. In training each map of the list learns the
    labels at its own size and the fused map learns too (arXiv 1606.00915).
    """
    full = image.shape[1:3]
    sizes = [tuple(round((n - 1) * scale) + 1 for n in full) for scale in scales]
    single = [scores_of(image if size == full else resize_corners(image, size)) for size in sizes]
    whole, same = jax.eval_shape(scores_of, image).shape[1:3], []
    for size, scores in zip(sizes, single, strict=True):
        steps = [(n - 1) / max(1, m - 1) for n, m in zip(full, size, strict=True)]  # cells of the whole between cells
        places = [step * np.arange(n) for step, n in zip(steps, scores.shape[1:3], strict=True)]
        same.append(scores if size == full else interpolated(scores, places, whole))
    return jnp.max(jnp.stack(same), axis=0), single
