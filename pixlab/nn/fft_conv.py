"""Convolution with kernels as large as the image: one result for every pair of a map and an output.

The spatial model of Tompson et al. 2014 (arXiv 1406.2984) convolves the heat-map of every joint v with a kernel for
every joint A that it says something about. A logarithm stands between the convolutions and their sum over v, so they
cannot be summed as spectra: there is one inverse transform for every pair (after Mathieu, Henaff & LeCun 2013, arXiv
1312.5851, who could sum).

Transforms of a training step with batch b: b v + a v forward and b a v back for the values, b a v forward and
b v + a v back for the gradients: the spectra of maps and kernels are kept. At 128x160 for maps of 60x90 and kernels of
128x128 each is 0.73 MFLOP, and each product of spectra 0.06; done directly, each pair is 177 MFLOP.

Memory: a spectrum is 128 x 81 complex numbers, 83 kB. Those of all maps and kernels, (b + a) v, are kept for the
gradients; of the b a v products those of one a at a time are there. For 14 joints and the torso and a batch of 64 that
is 97 MB and 80 MB; beside them the messages and their gradient take 290 MB each.
"""

from __future__ import annotations

import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pixlab.nn.fft import Size, fast_size, irfft2, rfft2

Method = Literal["fft", "matrix"]


def pair_convolutions(
    maps: Float[Array, "b v h w"], kernels: Float[Array, "a u n m"], method: Method = "fft"
) -> Float[Array, "b a v h w"]:
    """out[b,a,v,y,x] = sum over i, j of kernels[a,v,i,j] maps[b,v,y-(i-n//2),x-(j-m//2)], zeros outside: [b,a,v,h,w].

    Index (i, j) of a kernel is the displacement (i - n // 2, j - m // 2) from v to a: an even n has -n/2 to n/2 - 1.
    method: "fft", or "matrix" for the same transform as matrix products, which leave out the rows that are zero before
    and those that nobody reads after: for TPUs, whose FFTs are slow. Computed in float32 whatever comes in. Of the
    products of spectra those of one a are in memory at a time. Reverse-mode gradients of the first order. Raises
    ValueError if the maps' and kernels' v differ, for other numbers of axes, and for an unknown method.
    """
    if maps.ndim != 4 or kernels.ndim != 4:
        raise ValueError(f"maps must be [b, v, h, w], kernels [a, v, n, m]; they are {maps.shape} and {kernels.shape}")
    if method not in get_args(Method):
        raise ValueError(f"no method '{method}'; there are {' and '.join(get_args(Method))}")
    if maps.shape[1] != kernels.shape[1]:
        raise ValueError(f"{maps.shape[1]} maps but kernels for {kernels.shape[1]}: their second axes must be equal")
    return _convolve(method, maps.astype(jnp.float32), kernels.astype(jnp.float32))


def alias_free(length: int, window: int) -> int:
    """The smallest circular length at which what wraps round falls outside `length` outputs from window // 2 on."""
    return max(window, length + window // 2, length + window - 1 - window // 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(method, maps, kernels):
    return _forward(method, maps, kernels)[0]


def _forward(method, maps, kernels):
    to, back, centre = _transforms(method, maps, kernels)
    f, k = to(maps), to(kernels)[:, None]
    out = jax.lax.map(lambda k: back(f * k, centre, maps.shape[2:]), k)
    return out.swapaxes(0, 1), (f, k, maps, kernels)


def _gradients(method, saved, grad):
    f, k, maps, kernels = saved
    to, back, centre = _transforms(method, maps, kernels)

    def one(total, each):
        k, grad = each
        g = to(grad, centre)
        return total + k.conj() * g, back(jnp.sum(f.conj() * g, 0), (0, 0), kernels.shape[2:])

    total, of_kernels = jax.lax.scan(one, jnp.zeros_like(f), (k, grad.swapaxes(0, 1)))
    return back(total, (0, 0), maps.shape[2:]), of_kernels


_convolve.defvjp(_forward, _gradients)


def _transforms(method, maps, kernels):
    """To spectra and back, between arrays that begin anywhere in the circle, and where a kernel's centre is."""
    windows = kernels.shape[2:]
    need = [alias_free(n, window) for n, window in zip(maps.shape[2:], windows, strict=True)]
    to, back, size = (_fft, _ifft, [fast_size(n) for n in need]) if method == "fft" else (_dft, _idft, need)
    return functools.partial(to, tuple(size)), functools.partial(back, tuple(size)), tuple(n // 2 for n in windows)


def _fft(size: Size, x, at: Size = (0, 0)):
    """The spectrum of x with zeros around, as if it began at `at`."""
    around = [(0, 0)] * (x.ndim - 2) + [(a, n - a - m) for a, n, m in zip(at, size, x.shape[-2:], strict=True)]
    return rfft2(jnp.pad(x, around), size)


def _ifft(size: Size, spectrum, at: Size, crop: Size):
    """The part of size `crop` that begins at `at` of what has this spectrum."""
    return irfft2(spectrum, size)[..., at[0] : at[0] + crop[0], at[1] : at[1] + crop[1]]


def _dft(size: Size, x, at: Size = (0, 0)):
    (h, w), (rows, columns) = x.shape[-2:], size
    across = _waves(at[1], w, columns // 2 + 1, columns)
    down = _waves(at[0], h, rows, rows)
    x = _product("...w,rwf->r...f", x, across)
    (cc, cs), (sc, ss) = _product("rhn,q...hf->rq...nf", down, x)
    return jax.lax.complex(cc - ss, -(cs + sc))


def _idft(size: Size, spectrum, at: Size, crop: Size):
    rows, columns = size
    twice = np.full(columns // 2 + 1, 2.0)  # for a frequency and its negative, unless they are one
    twice[0] = 1
    if columns % 2 == 0:
        twice[-1] = 1
    down, across = _waves(at[0], crop[0], rows, rows), _waves(at[1], crop[1], columns // 2 + 1, columns)
    (cr, ci), (sr, si) = _product("rhn,q...nf->rq...hf", down, jnp.stack([spectrum.real, spectrum.imag]))
    parts = jnp.stack([cr - si, -(ci + sr)])
    return _product("r...hf,rwf->...hw", parts, across * twice / (rows * columns))


def _waves(at: int, length: int, frequencies: int, period: int) -> np.ndarray:
    """[2,length,frequencies]: cosine and sine of each frequency at the places from `at` on."""
    turns = np.outer(np.arange(at, at + length), np.arange(frequencies)) % period / period
    return np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)])


def _product(what: str, *arrays):
    arrays = (jnp.asarray(x, jnp.float32) for x in arrays)
    return jnp.einsum(what, *arrays, precision=jax.lax.Precision.HIGHEST)
