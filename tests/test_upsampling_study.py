"""The study of checkerboards: what it measures, and that it writes its page."""

import re

import numpy as np
import pytest
from PIL import Image

from experiments import upsampling_autoencoders as autoencoders
from experiments import upsampling_study as study
from pixlab.errors import UserError
from pixlab.models.upsampling import Decoder, Encoder


def scenes(count, seed):
    """Frames of a few rectangles on a slope."""
    rng, frames = np.random.default_rng(seed), []
    slope = np.linspace(0, 80, 70)[:, None, None] + np.linspace(0, 60, 90)[:, None]
    for _ in range(count):
        image = slope + rng.uniform(0, 60, 3)
        for _ in range(6):
            top, left = rng.integers(0, 60, 2)
            image[top : top + 30, left : left + 20] += rng.uniform(-50, 50, 3)
        frames.append({"image": image.clip(0, 255).astype(np.uint8)})
    return frames


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(study, "rooms", lambda split: scenes(4, 0 if split == "train" else 1))
    decoders = {"deconvolutions": Decoder(2, 3, layers=2, width=4), "resize": Decoder(0, layers=2, width=4)}
    encoders = {"strided": Encoder("strided", 3, layers=2, width=4), "means": Encoder("mean", layers=2, width=4)}
    monkeypatch.setattr(autoencoders, "DECODERS", decoders)
    monkeypatch.setattr(autoencoders, "ENCODERS", encoders)
    monkeypatch.setattr(study, "findings", lambda decoders, test: [f"Found in {' and '.join(decoders)}."])


def test_page_and_picture(small, tmp_path, capsys):
    out = tmp_path / "docs" / "page.md"
    study.main(["--seeds", "0", "1", "--steps", "3", "--crops", "4", "--test", "3", "--batch", "2", "--out", str(out)])
    assert str(out) in capsys.readouterr().out
    assert "\nFound in deconvolutions and resize.\n" in out.read_text()
    assert sorted(path.name for path in out.parent.iterdir()) == ["page.md", "page.png"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.read_text().splitlines() if "|" in line]
    names = [row[0] for row in rows if row[0] and set(row[0]) != {"-"}]
    assert names == [
        *("decoder", "noise", "the crops themselves", "deconvolutions", "resize"),
        *("encoder", "strided", "means"),
    ]
    found = {}
    for row in rows:
        found.setdefault(row[0], row[2:])  # the first of a name: with random weights
    value = {name: [float(cell.split(" ")[0].replace(",", "")) for cell in cells[:4]] for name, cells in found.items()
             if name in ("noise", "deconvolutions", "resize", "strided", "means")}  # fmt: skip
    assert value["deconvolutions"][0] > 10 * value["resize"][0]  # A_2
    assert value["deconvolutions"][2] > 5 * value["resize"][2]  # N/2
    assert value["strided"][0] + value["strided"][1] > 5 * sum(value["means"][:2])
    assert value["noise"][0] == pytest.approx(100 * 3 / 48**2, rel=0.5)
    low, high = found["deconvolutions"][0].split("(")[1].rstrip(")").split(" to ")
    assert float(low) <= value["deconvolutions"][0] <= float(high)
    picture = np.array(Image.open(out.with_suffix(".png")))
    assert picture.shape[0] > 5 * 48 * study.ZOOM and picture.shape[1] > 5 * 48 * study.ZOOM


def test_what_is_found_is_what_was_measured():
    """Seeds of 4x4 have 90 and 80 % in a pattern of period 2 at first; then as much as those of 3x3, 20 and 10 %."""

    def seeds(*parts):
        rng, checks = np.random.default_rng(0), np.where(np.indices((64, 64)).sum(0) % 2, 1, -1)[..., None]
        images = [np.sqrt(part) * checks + np.sqrt(1 - part) * rng.normal(size=(64, 64, 3)) for part in parts]
        return [autoencoders.Seen(np.float32(image[None]), np.zeros(0, np.float32)) for image in images]

    def trained(before, after):
        return [autoencoders.Trained(*pair) for pair in zip(seeds(*before), seeds(*after), strict=True)]

    text = study.findings(
        {
            "3x3 deconvolutions": trained((0.3, 0.2), (0.2, 0.1)),
            "4x4 deconvolutions": trained((0.9, 0.8), (0.15, 0.3)),
            "3x3 in the last layer": trained((0.5, 0.5), (0.5, 0.5)),
            "resize-convolutions": trained((0.0, 0.0), (0.0, 0.04)),
        },
        np.zeros((3, 64, 64, 3)),
    )
    said = " ".join(text)
    assert "leave more of period 2 than 3x3 ones with random weights, and as much of period 2 as 3x3 ones" in said
    found = re.search(
        r"A_2 of (\S+) at most with random weights and of (\S+) after training, where noise has (\S+)", said
    )
    assert float(found[1]) < 0.5 and float(found[2]) == pytest.approx(4, abs=1.5) and float(found[3][:-1]) < 0.5
    assert max(map(len, text)) <= 120


def test_spectrum_is_bright_where_the_pattern_is():
    checks = np.indices((48, 48)).sum(0) % 2
    images = np.random.default_rng(0).normal(size=(2, 48, 48, 3)) + 3 * checks[..., None]
    shown = study.spectrum(images).astype(int).sum(-1)
    assert np.unravel_index(shown.argmax(), shown.shape) == (0, 0)  # N/2 in both directions, the corner
    assert shown[0, 0] > 2 * np.median(shown)


def test_stretched_leaves_one_per_cent_out_on_either_side():
    image = np.arange(1000.0).reshape(10, 20, 5) * 3 - 7
    out = study.stretched(image)
    assert (out == 0).sum() == (out == 1).sum() == 10
    middle = out[(out > 0) & (out < 1)]
    np.testing.assert_allclose(np.diff(middle), np.diff(middle)[0])


def test_psnr():
    """Of what is measured, without the border."""
    truth = np.zeros((2, 20, 20, 3))
    images = truth + np.array([0.1, 0.01])[:, None, None, None]
    images[:, :8] = images[:, :, 12:] = 5
    assert study.psnr(images, truth) == pytest.approx((20 + 40) / 2)


def test_more_crops_than_rooms():
    with pytest.raises(UserError, match="9 crops of 4 rooms"):
        autoencoders.crops(scenes(4, 0), 9, 0)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--steps", "0"], "give 1 or more"),
        (["--seeds", "0", "-1"], "--seeds -1: give 0 or more"),
        (["--lr", "nan"], "--lr nan: give a positive number"),
        (["--lr", "inf"], "--lr inf: give a positive number"),
        (["--lr", "-1"], "--lr -1.0: give a positive number"),
        (["--out", "page.png"], "page.png: is where the picture goes"),
        (["--out", "folder"], "folder: is a folder"),
        (["--out", "page.md"], "or the picture beside it is"),
        (["--out", "file/page.md"], "file: is a file"),
    ],
)
def test_what_cannot_go_well_is_said_before_training(words, what, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "study", lambda *_: pytest.fail("trains"))
    monkeypatch.setattr(study, "rooms", lambda split: pytest.fail("makes rooms"))
    monkeypatch.chdir(tmp_path)
    for folder in ("folder", "page.png"):
        (tmp_path / folder).mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        study.main(words)
    assert what in capsys.readouterr().err
