"""MDSR, one network for several enlargements: Lim et al., CVPR Workshops 2017 (arXiv 1707.02921), as in the authors'
PyTorch release. The body is shared; each enlargement has a beginning and an end of its own.
"""

from __future__ import annotations

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.models.edsr import Block, Enlarge, centred, conv, restored


class MDSR(nn.Module):
    """RGB image at low resolution [b, h, w, 3] in [0, 1] -> {scale: [b, scale h, scale w, 3]} for all `scales`.

    3x3 convolution; two residual blocks of 5x5 windows, of each scale its own; `blocks` residual blocks and a 3x3
    convolution, added to what these gave; enlargement, of each scale its own; one 3x3 convolution for all. The paper
    has 80 blocks, its baseline 16.

    With `scale` it answers for that one alone, with an array in place of the dict and the work of one network. The
    parameters are those of all scales whatever `scale` is: Net("mdsr", MDSR(scale=2), ...) and Net("mdsr",
    MDSR(scale=3), ...) are the same network, either of which can make its parameters. Raises UserError for a `scale`
    that is none of `scales`.
    """

    scales: tuple[int, ...] = (2, 3, 4)
    blocks: int = 16
    width: int = 64
    scale: int | None = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"], train: bool = False
    ) -> Float[Array, "b h2 w2 3"] | dict[int, Float[Array, "b _ _ 3"]]:
        if self.scale is not None and self.scale not in self.scales:
            raise UserError(f"enlargement {self.scale}: this network has {', '.join(map(str, self.scales))}")
        wanted = self.scales if self.scale is None or self.is_initializing() else (self.scale,)
        head = conv(3, self.width, "head")(centred(image))
        blocks = [Block(name=f"block{index}") for index in range(1, self.blocks + 1)]
        body, tail = conv(self.width, self.width, "body"), conv(self.width, 3, "tail")
        answers = {}
        for scale in wanted:
            x = head
            for index in (1, 2):
                x = Block(window=5, name=f"x{scale}_before{index}")(x)
            before = x
            for block in blocks:
                x = block(x)
            x = Enlarge(scale, name=f"x{scale}_enlarge")(before + body(x))
            answers[scale] = restored(tail(x))
        return answers if self.scale is None else answers[self.scale]
