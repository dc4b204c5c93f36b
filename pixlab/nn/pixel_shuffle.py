"""Sub-pixel enlargement in PyTorch's order of channels: Shi et al., CVPR 2016 (arXiv 1609.05158), equation 4.

`upsample.depth_to_space` lays out the same channels in TensorFlow's order, which is another one unless one is left.
"""

from jaxtyping import Array, Float

from pixlab.errors import UserError


def pixel_shuffle(x: Float[Array, "b h w c"], r: int) -> Float[Array, "b h2 w2 c2"]:
    """[b, h, w, c r^2] -> [b, h r, w r, c]: out[r i + dy, r j + dx, k] = x[i, j, k r^2 + dy r + dx].

    Raises UserError for channels that r^2 does not divide.
    """
    b, h, w, c = x.shape
    if c % r**2:
        raise UserError(f"{c} channels cannot be shuffled into {r}x{r} pixels: give a multiple of {r**2}")
    return x.reshape(b, h, w, c // r**2, r, r).transpose(0, 1, 4, 2, 5, 3).reshape(b, h * r, w * r, c // r**2)


def pixel_unshuffle(x: Float[Array, "b h w c"], r: int) -> Float[Array, "b h2 w2 c2"]:
    """[b, h r, w r, c] -> [b, h, w, c r^2], the inverse of `pixel_shuffle`.

    Raises UserError for rows or columns that r does not divide.
    """
    b, h, w, c = x.shape
    if h % r or w % r:
        raise UserError(f"a map of {h}x{w} has no whole {r}x{r} pixels: crop it to multiples of {r}")
    return x.reshape(b, h // r, r, w // r, r, c).transpose(0, 1, 3, 5, 2, 4).reshape(b, h // r, w // r, c * r**2)


def shuffles(scale: int) -> tuple[int, ...]:
    """The enlargements, one after the other, by which residual networks enlarge: 2 at a time, or 3 at once.

    Raises UserError for a scale that is neither 3 nor a power of 2.
    """
    if scale == 3:
        return (3,)
    if scale < 1 or scale & (scale - 1):
        raise UserError(f"enlargement {scale}: give 3 or a power of 2")
    return (2,) * (scale.bit_length() - 1)
