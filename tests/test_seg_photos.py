"""Photos of any size: how networks for labels see them, and the same in windows as in one piece."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from experiments import seg_camvid
from pixlab import seg_task
from pixlab.core import State
from pixlab.run import Run
from pixlab.tiles import Tiles

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


@pytest.fixture(autouse=True)
def compiled_quickly(monkeypatch):
    def apply(run):
        step = jit(run.recipe.predict)
        return lambda batch: step(run.state.params, run.state.carry, batch)

    monkeypatch.setattr("pixlab.predict._apply", apply)


@pytest.mark.parametrize(
    ("photo", "seen"),
    [
        ((720, 960), (360, 480)),  # the aspect of --size: what is scored
        ((20, 30), (360, 540)),
        ((3000, 2000), (540, 360)),
        ((1, 1), (360, 360)),
        ((500, 1300), (360, 936)),
        ((500, 1340), (360, 960)),  # 964.8: more than one window, so a multiple of 32
        ((500, 1351), (360, 960)),  # 972.7
        ((1, 9999), (360, 5760)),  # no sliver longer than 16 times its height
    ],
)
def test_photos_keep_their_aspect_at_the_scale_of_training(photo, seen):
    settings = seg_camvid.CONFIGS["segnet_basic"]
    assert seg_task.seen_size(settings, photo) == seen
    assert seg_camvid.tiles(settings).size == 960 and seg_task.seen_size(settings, photo[::-1]) == seen[::-1]


def test_a_photo_with_the_aspect_of_the_size_is_seen_as_it_is_scored():
    settings = dataclasses.replace(seg_camvid.CONFIGS["quick"].blank("blank"), size=(25, 33), crop=(25, 33))
    image = np.random.default_rng(0).integers(0, 256, (50, 66, 3), np.uint8)
    scored = seg_task.data(settings).splits["test"].map({"image": image, "label": np.zeros((50, 66, 1), np.int32)})
    np.testing.assert_array_equal(seg_task.photo(settings, image)["image"], scored["image"])


ENCODER = [("pool", 2), ("conv", 7)] * 4  # from the scores back to the image
BASIC = [("conv", 7), ("unpool", 2)] * 4 + ENCODER
VGG = [[("conv", 3)] * count for count in (2, 2, 3, 3, 3)]
UNET = [[("conv", 3)] * 2] * 4
FCN = [
    *[("deconvolution", 8), ("deconvolution", 2), ("deconvolution", 2), ("conv", 7)],
    *(layer for block in reversed(VGG) for layer in [("pool", 2), *block]),
]
WALKS = {
    "segnet_basic": BASIC,
    "segnet_basic_add": BASIC,
    "segnet_basic_single": BASIC,
    "fcn_basic": [("transposed", 8)] * 4 + ENCODER,
    "fcn_basic_no_add": [("transposed", 8)] * 4 + ENCODER,
    "fcn_basic_wide": [("transposed", 8)] * 4 + ENCODER,
    "bilinear": [("bilinear", 2)] * 4 + ENCODER,
    "segnet": [
        *(layer for block in VGG for layer in [*block, ("unpool", 2)]),
        *(layer for block in reversed(VGG) for layer in [("pool", 2), *block]),
    ],
    "fcn8s": FCN,
    "fcn8s_learnt": FCN,
    "unet": [
        *(layer for block in UNET for layer in [*block, ("unpool", 2)]),
        *[("conv", 3)] * 2,
        *(layer for block in UNET for layer in [("pool", 2), *block]),
    ],
}


def before(layer: str, window: int, first: int, last: int) -> tuple[int, int]:
    """What rows `first` to `last` after a layer depend on."""
    match layer:
        case "conv":
            return first - window // 2, last + window // 2
        case "pool":
            return 2 * first, 2 * last + 1
        case "unpool":
            return first // 2, last // 2
        case "transposed":  # padded by 3, 2 apart: row i is added to rows 2i - 3 to 2i + 4
            return -(-(first - 4) // 2), (last + 3) // 2
        case "deconvolution":  # of twice the factor, half of which lies before the picture
            return -(-(first + window // 2 - 2 * window + 1) // window), (last + window // 2) // window
        case "bilinear":
            return (first - 1) // 2, (last + 1) // 2


@pytest.mark.parametrize("net", seg_camvid.NETS)
def test_how_far_a_score_sees(net):
    far = 0
    for row in range(640, 640 + 32):
        first = last = row
        for layer in WALKS[net]:
            first, last = before(*layer, first, last)
        far = max(far, row - first, last - row)
    assert far <= seg_camvid.REACH[net] and (net == "bilinear" or far == seg_camvid.REACH[net])


def untrained(folder, **options) -> Run:
    """A run on one device with made-up parameters and batch statistics."""
    run = Run(folder, seg_camvid.experiment, dataclasses.replace(seg_camvid.CONFIGS["quick"], batch=1, **options))
    rng = np.random.default_rng(0)

    def some(x):  # positive where it is a vector, as variances must be
        noise = rng.standard_normal(x.shape)
        return np.float32(
            1.5 * noise * np.prod(x.shape[:-1]) ** -0.5 if len(x.shape) > 1 else 0.3 * np.abs(noise) + 0.5
        )

    run.state = State(
        np.int32(run.config.steps), *jax.tree.map(some, jax.eval_shape(run.recipe.init, jax.random.key(0))), {}
    )
    return run


@pytest.mark.parametrize("net", ["segnet_basic", "unet", "segnet"])
def test_windows_of_a_panorama_give_what_the_whole_gives(tmp_path, net):
    run = untrained(tmp_path, net=net, width=1 / 32)
    whole, halo = run.experiment, seg_camvid.tiles(run.config).halo
    whole = dataclasses.replace(
        whole, tiles=lambda config: None, photo=lambda config, image: {"image": np.float32(image) / 255}
    )
    photo = np.random.default_rng(0).integers(0, 256, (33, 2 * halo + 128, 3), np.uint8)

    def scores(tiles):
        run.experiment = dataclasses.replace(whole, tiles=lambda config: tiles)
        ((prediction, files),) = run.predict([photo])
        assert files["label"].shape == photo.shape[:2]
        return prediction["logits"]

    expected = scores(None)
    size = np.abs(expected).max()
    np.testing.assert_allclose(scores(Tiles(2 * halo + 64, halo, of="input")) / size, expected / size, atol=1e-5)
    if net == "segnet_basic":  # not for nothing: with too small a halo, or off the grid of the pools, it is gone
        for wrong in (Tiles(160, 16, of="input"), Tiles(2 * halo + 64, halo + 4, of="input")):
            assert np.abs(scores(wrong) - expected).max() > 1e-3 * size


def test_photos_small_and_large_keep_their_size_and_order(tmp_path):
    run = untrained(tmp_path, width=1 / 16)
    sizes = [(20, 30), (300, 200), (3, 90), (1, 1), (96, 128)]
    photos = [np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8) for i, size in enumerate(sizes)]
    for size, (maps, files) in zip(sizes, run.predict(photos, maps=False), strict=True):
        assert maps == {} and files["label"].shape == size and files["label_colour"].shape == (*size, 3)
        assert files["overlay"].dtype == np.uint8 and len(files["legend"]) == 16
