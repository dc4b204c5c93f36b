"""--weights of the experiments on labels: what trunks, fc6 and fc7 start from, and what stays random."""

import dataclasses

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from experiments import seg_camvid, seg_voc, seg_voc_deeplab, seg_voc_dilated, seg_voc_refinenet
from pixlab.errors import UserError
from pixlab.models.vgg import BLOCKS

WIDTH, UNITS = 1 / 32, 160
VGG = {
    "fcn": (seg_voc, seg_voc.CONFIGS["quick"], "fcn"),
    "camvid": (seg_camvid, dataclasses.replace(seg_camvid.CONFIGS["fcn8s_few"], source="rooms"), "fcn8s"),
    "deeplab": (seg_voc_deeplab, seg_voc_deeplab.CONFIGS["quick"], "deeplab"),
    "dilated": (seg_voc_dilated, seg_voc_dilated.CONFIGS["quick"], "front"),
}


def vgg_file(folder):
    """A VGG-16 of 1/32 of the channels with a classifier of 160 units, by torchvision's names."""
    rng, arrays, before, index = np.random.default_rng(0), {}, 3, 0
    for channels, convs in BLOCKS:
        for _ in range(convs):
            n = round(channels * WIDTH)
            arrays |= {f"features.{index}.weight": rng.normal(size=(n, before, 3, 3))}
            arrays |= {f"features.{index}.bias": rng.normal(size=n)}
            before, index = n, index + 2
        index += 1
    for name, shape in {"classifier.0": (UNITS, 49 * before), "classifier.3": (UNITS, UNITS)}.items():
        arrays |= {f"{name}.weight": rng.normal(size=shape), f"{name}.bias": rng.normal(size=UNITS)}
    np.savez(folder / "vgg.npz", **arrays)
    return arrays, folder / "vgg.npz"


def started(experiment, config):
    recipe = experiment.recipe(config)
    return recipe.pretrained(jax.eval_shape(recipe.init, jax.random.key(0))[0])


@pytest.mark.parametrize("name", VGG)
def test_vgg_and_its_classifier_start_the_network(name, tmp_path):
    experiment, config, net = VGG[name]
    arrays, path = vgg_file(tmp_path)
    params = started(experiment, dataclasses.replace(config, width=WIDTH, weights=str(path)))[net]
    for layer, index in (("conv1_2", 2), ("conv3_1", 10), ("conv5_3", 28)):
        expected = arrays[f"features.{index}.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_allclose(params["trunk"][layer]["kernel"], expected, rtol=1e-6)
    filled = {layer: params[layer] for layer in params if layer.startswith(("fc6", "fc7"))}
    assert len(filled) == 2 * len(getattr(config, "rates", (0,)))
    for layer, found in filled.items():
        source = arrays["classifier.0.bias" if layer.startswith("fc6") else "classifier.3.bias"]
        assert np.isin(np.float32(found["bias"]), np.float32(source)).all() and found["bias"].size <= UNITS
    rest = {at: leaf for at, leaf in flatten_dict(params).items() if at[0] != "trunk" and at[0] not in filled}
    assert rest and all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in rest.values())  # nothing else is touched


@pytest.mark.parametrize("name", VGG)
def test_a_file_that_is_not_there_names_the_option(name):
    experiment, config, _ = VGG[name]
    with pytest.raises(UserError, match=r"--weights none\.npz: no weight file"):
        started(experiment, dataclasses.replace(config, weights="none.npz"))


@pytest.mark.parametrize(
    ("experiment", "config"),
    [
        (seg_voc_refinenet, seg_voc_refinenet.CONFIGS["quick"]),
        (seg_voc_deeplab, dataclasses.replace(seg_voc_deeplab.CONFIGS["quick"], net="resnet101")),
    ],
    ids=["refinenet", "deeplab"],
)
def test_another_network_than_the_resnet_is_refused(experiment, config, tmp_path):
    _, path = vgg_file(tmp_path)
    with pytest.raises(UserError, match=r"(?s)--weights .*vgg\.npz: these weights do not fit ResNet"):
        started(experiment, dataclasses.replace(config, weights=str(path)))
