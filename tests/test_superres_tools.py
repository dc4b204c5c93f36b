"""The table of super-resolution and the scores of how natural photos look: end to end on a tiny run."""

import jax
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from experiments import perceptual_scores, sr_div2k, sr_pictures, sr_t91, sr_table
from pixlab import cli, shipped
from pixlab.core import start
from pixlab.data.images import read_image
from pixlab.data.photos import open_photos
from pixlab.errors import UserError
from pixlab.metrics.niqe import Prior, fit, niqe
from pixlab.metrics.pirm import scored
from pixlab.nn.colour import luminance
from pixlab.nn.imresize import imresize, imresize_uint8
from pixlab.run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos of sums of waves, large enough for NIQE's blocks."""
    place = tmp_path_factory.mktemp("photos")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        i, j = np.mgrid[:208, :208]
        waves = sum(
            np.sin(i[..., None] * rng.uniform(-1, 1, 3) + j[..., None] * rng.uniform(-1, 1, 3)) * rng.uniform(5, 25, 3)
            for _ in range(8)
        )
        pixels = np.clip(128 + waves + rng.normal(0, 4, waves.shape), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{seed}.png")
    return place


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    photos, place = f"photos:{folder}", tmp_path_factory.mktemp("runs")
    options = dict(source=photos, test=photos, batch=2, steps=2)
    grey = sr_t91.Config(net="espcn", scale=2, run=str(place / "grey"), **options)
    colour = sr_div2k.Config(blocks=1, width=4, patch=8, run=str(place / "colour"), **options)
    cli.execute(sr_t91.experiment, "espcn_x2", grey)
    cli.execute(sr_div2k.experiment, "edsr_baseline_x2", colour)
    return place


def test_the_table_has_a_part_for_each_protocol(runs, folder, tmp_path, capsys):
    photos = f"photos:{folder}"
    out = tmp_path / "table.md"
    sr_table.main([str(runs / "grey"), str(runs / "colour"), "--tests", photos, "--ensemble", "--out", str(out)])
    text = capsys.readouterr().out
    assert text.strip() in out.read_text() and str(folder) not in out.read_text()
    assert "x2, luminance from luminance" in text and "x2, luminance of 8-bit colours" in text
    assert all(f"| **{row}** |" in text for row in ("grey", "colour", "colour+", "bicubic"))
    found = sr_table.rows(sr_table.Command((str(runs / "grey"),), (photos,)))[("luminance", 2)]
    expected = []
    for frame in open_photos(photos, "test"):  # not those that the run was trained on
        y = np.floor(255 * luminance(frame["image"] / 255) + 0.5)[..., 0]
        again = np.clip(np.floor(imresize(imresize(y, 0.5), 2.0) + 0.5), 0, 255)
        expected.append(peak_signal_noise_ratio(y[2:-2, 2:-2], again[2:-2, 2:-2], data_range=255))
    assert found["bicubic"][photos]["psnr"] == pytest.approx(np.mean(expected), abs=2e-3)


def test_published_figures_stand_beside():
    tables = {("luminance", 3): {"bicubic": {"set5": {"psnr": 30.394, "ssim": 0.8682}}}}
    text = "\n".join(sr_table.markdown(tables, ["set5", "set14"]))
    assert "| **bicubic** | 30.39 / 0.8682 |  |" in text
    assert "| bicubic (published) | 30.39 / 0.8682 | 27.55 / 0.7742 |" in text
    assert "| VDSR (published) | 33.66 / 0.9213 | 29.77 / 0.8314 |" in text and "EDSR" not in text


def test_figures_of_other_protocols_do_not():
    ours = {"set5": {"psnr": 30.0}, "div2k": {"psnr": 30.0}}
    tables = {("rgb_luminance", 2): {"a": {"set5": ours["set5"]}}, ("rgb", 2): {"a": {"div2k": ours["div2k"]}}}
    text = "\n".join(sr_table.markdown(tables, ["set5", "div2k"]))
    luminance, rgb = text.split("8-bit colours (DIV2K)")
    assert "| EDSR (published) | 38.11 / 0.9601 |  |" in luminance
    assert "| EDSR (published) |  | 35.03 |" in rgb and "VDSR" not in text


def test_networks_of_all_scales_have_a_row_at_each(folder, tmp_path):
    run = Run(tmp_path, sr_t91.experiment, sr_t91.Config(net="vdsr", depth=3, scale=3))
    run.state = start(run.recipe, jax.random.key(0))
    assert [one.config.scale for _, one in sr_table.variants("vdsr", run, False)] == [2, 3, 4]
    params = [one.recipe.init(jax.random.key(0))[0] for _, one in sr_table.variants("vdsr", run, False)]
    assert jax.tree.map(np.shape, params[0]) == jax.tree.map(np.shape, params[2])


def test_without_runs_there_is_no_table(monkeypatch):
    monkeypatch.setattr(shipped, "names", list)
    with pytest.raises(UserError, match="no weights are shipped"):
        sr_table.rows(sr_table.Command())


def test_pictures_of_what_runs_make(runs, folder, tmp_path, capsys, monkeypatch):
    rows, strip = [], sr_pictures.strip
    monkeypatch.setattr(sr_pictures, "strip", lambda panels: rows.append(panels) or strip(panels))
    photos = f"photos:{folder}"
    out, words = tmp_path / "new" / "made.png", [str(runs / "grey"), "--test", photos, "--photos"]
    sr_pictures.main([*words, "0", "0", "--out", str(out)])
    assert capsys.readouterr().out.strip() == str(out) and read_image(out).shape[1] > 3 * 240
    assert [[panel.title for panel in panels] for panels in rows] == [["bicubic", "grey", "truth"]] * 2
    whole = open_photos(photos, "test")[0]["image"]
    views = np.lib.stride_tricks.sliding_window_view(whole, (64, 64, 3))[:, :, 0]
    ((top, left),) = np.argwhere((views == rows[0][2].image).all((2, 3, 4)))
    low = imresize_uint8(whole, 0.5)
    ((_, made),) = Run.open(runs / "grey").predict([low])
    for panel, image in zip(rows[0], (imresize_uint8(low, 2), made["x2"]), strict=False):
        np.testing.assert_array_equal(panel.image, image[top : top + 64, left : left + 64])
    for wrong, line in (
        ([*words, "1"], "has photos 0 to 0"),
        ([*words, "0", "--out", str(folder / "0.png" / "x.png")], "0.png: is a file"),
        (["srcnn-x3", *words, "0"], "these have 2, 3"),
    ):
        with pytest.raises(SystemExit):
            sr_pictures.main(wrong)
        assert line in capsys.readouterr().err


def test_natural_scores(runs, folder, tmp_path, capsys):
    photos = f"photos:{folder}"
    prior = fit([scored(read_image(path) / 255) for path in sorted(folder.iterdir())])
    prior.save(tmp_path / "prior.npz")
    found = perceptual_scores.scores(
        perceptual_scores.Command(str(runs / "colour"), pristine=photos, test=photos, ma=5.0)
    )
    again = perceptual_scores.scores(
        perceptual_scores.Command(str(runs / "colour"), prior=str(tmp_path / "prior.npz"), test=photos)
    )
    truth = [niqe(scored(read_image(path) / 255), Prior.load(tmp_path / "prior.npz")) for path in folder.iterdir()]
    assert found["niqe, truth"] == pytest.approx(np.mean(truth), rel=1e-6)
    assert {k: v for k, v in found.items() if k != "perceptual index"} == pytest.approx(again)
    assert found["perceptual index"] == pytest.approx((5 + found["niqe, this run"]) / 2)
    assert found["rmse"] > 0 and found["niqe, bicubic"] > found["niqe, truth"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(), "either --prior FILE or --pristine"),
        (dict(pristine="photos:x", alexnet="a.pth"), "needs both --alexnet FILE and --lpips FILE"),
    ],
)
def test_options_that_do_not_go_together(runs, options, message):
    with pytest.raises(UserError, match=message):
        perceptual_scores.scores(perceptual_scores.Command(str(runs / "colour"), **options))


def test_other_runs_are_refused(runs):
    with pytest.raises(UserError, match="of colours"):
        perceptual_scores.scores(perceptual_scores.Command(str(runs / "grey"), pristine="photos:x"))


def test_a_pristine_photo_that_is_too_small_is_named(runs, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "eight.png")
    with pytest.raises(UserError, match=r"eight\.png: nothing is left of 8x8 pixels"):
        perceptual_scores.scores(perceptual_scores.Command(str(runs / "colour"), pristine=f"photos:{tmp_path}"))
