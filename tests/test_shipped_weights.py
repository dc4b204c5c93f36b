"""The weights that come with pixlab."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import skimage
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from pixlab import shipped
from pixlab.__main__ import main
from pixlab.data.images import read_image
from pixlab.nn.colour import luminance
from pixlab.nn.imresize import imresize_uint8
from pixlab.run import Run

ROOT = pathlib.Path(__file__).parents[1]
SUPER_RESOLUTION = [f"{net}-x{scale}" for net in ("espcn", "fsrcnn", "srcnn") for scale in (2, 3, 4)]


def test_the_small_networks_of_super_resolution_are_shipped():
    assert set(SUPER_RESOLUTION) <= set(shipped.names())
    listed = shipped.listed()
    for name in shipped.names():
        run = Run.open(name)
        assert int(run.state.step) == run.recipe.steps and run.experiment.photo is not None
        record = json.loads((run.folder / shipped.RECORD).read_text())
        assert record["experiment"] == run.experiment.name and f"{name}: " in listed
        assert sum(path.stat().st_size for path in run.folder.iterdir()) < 1_000_000


@pytest.mark.parametrize("name", SUPER_RESOLUTION)
def test_shipped_weights_enlarge_better_than_interpolation(name):
    """A photo that none has seen, by PSNR of its luminance."""
    photo = skimage.data.chelsea()[60:240, 120:324]
    run = Run.open(name)
    scale = run.config.scale
    low = imresize_uint8(photo, 1 / scale)
    ((_, made),) = run.predict([low])
    inside = (slice(scale, -scale), slice(scale, -scale))
    psnr = [
        peak_signal_noise_ratio(*(luminance(x / 255)[inside] for x in (photo, large)), data_range=1)
        for large in (made[f"x{scale}"], imresize_uint8(low, scale))
    ]
    assert psnr[0] > psnr[1] + 0.2


def test_photos_of_all_kinds_go_through_shipped_weights(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 7, 3), np.uint8)
    photo, turned = Image.fromarray(pixels), Image.Exif()
    turned[274] = 6  # to be turned by a quarter
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    kinds = {
        "rgb.png": photo, "rgba.png": photo.convert("RGBA"), "grey.png": Image.fromarray(pixels[..., 0]),
        "deep.png": deep, "palette.gif": photo.quantize(8), "cmyk.jpg": photo.convert("CMYK"),
        "one.png": photo.resize((1, 1)),
    }  # fmt: skip
    for name, image in kinds.items():
        image.save(tmp_path / name)
    photo.save(tmp_path / "turned.jpg", exif=turned)
    sizes = dict.fromkeys(kinds, (21, 30)) | {"one.png": (3, 3), "turned.jpg": (30, 21)}
    for weights in ("srcnn-x3", "fsrcnn-x3"):
        out = tmp_path / weights
        main(["predict", weights, *(str(tmp_path / name) for name in sizes), "--out", str(out)])
        for name, size in sizes.items():
            with Image.open(out / f"{pathlib.Path(name).stem}_x3.png") as made:
                assert made.size == size and made.mode == "RGB", name
        grey = read_image(out / "grey_x3.png").astype(int)
        assert np.ptp(grey) > 50 and np.ptp(grey, axis=-1).max() <= 2  # grey stays grey
        np.testing.assert_array_equal(read_image(out / "deep_x3.png"), grey)


def test_a_photo_of_12_megapixels_takes_less_than_2_gigabytes(tmp_path):
    """In a process of its own, whose memory is its own; it says how far it is.

    VmHWM starts anew with each program; what getrusage says keeps the peak of the process that started it.
    """
    if not pathlib.Path("/proc/self/status").exists():
        pytest.skip("the peak of a process is read from /proc, which this system does not have")
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
    coarse.resize((4000, 3000), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg")
    code = (
        "import pathlib, re, sys; from pixlab.__main__ import main; main(sys.argv[1:]);"
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    words = ["predict", "fsrcnn-x2", str(tmp_path / "large.jpg"), "--out", str(tmp_path)]
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written, kilobytes = done.stdout.splitlines()
    with Image.open(written) as picture:
        assert picture.size == (8000, 6000)
    assert int(kilobytes) < 2_000_000, kilobytes
    assert "photo 1, 4000x3000" in done.stderr
