"""How frameworks before PyTorch sized strided windows: pad to the next whole window instead of dropping the rest."""


def ceil_windows(size: int, window: int, stride: int) -> int:
    """Number of windows along an axis when the last, partial one counts: ceil((size - window) / stride) + 1."""
    return -(-(size - window) // stride) + 1


def centred_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """(before, after) zeros that make `ceil_windows` whole windows; an odd one goes before.

    cuda-convnet's "valid" strided convolution; so sized in Eigen et al. 2014 and Eigen & Fergus 2015.
    """
    extra = (ceil_windows(size, window, stride) - 1) * stride + window - size
    return extra - extra // 2, extra // 2
