"""Parametric ReLU: He, Zhang, Ren & Sun, "Delving Deep into Rectifiers", ICCV 2015 (arXiv 1502.01852)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class PReLU(nn.Module):
    """x where x > 0, a x elsewhere, with a slope a learnt for each channel, from `slope` on."""

    slope: float = 0.25

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        slope = self.param("slope", nn.initializers.constant(self.slope), (x.shape[-1],), jnp.float32)
        return jnp.where(x > 0, x, x * slope.astype(x.dtype)[None, None, None])
