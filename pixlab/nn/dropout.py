"""Dropout of whole feature maps: Tompson, Goroshin, Jain, LeCun & Bregler, CVPR 2015 (arXiv 1411.4280)."""

import functools

import flax.linen as nn

SpatialDropout = functools.partial(nn.Dropout, broadcast_dims=(1, 2))
"""`flax.linen.Dropout` with one draw for each feature map of [b, h, w, c], all of whose cells fall or stay together.

Neighbouring cells say nearly the same, so that dropping each by itself would hide little.
"""
