"""Real Kinect frames as an RGB-D folder that `pixlab.data.rgbd_folder.RgbdFolder` reads.

NYU Depth v2, labelled set (Silberman, Hoiem, Kohli & Fergus, ECCV 2012), from either of

* a checkout of the public repository pippy360/depthEstimationNN1: `data/nyu_datasets/NNNNN.jpg` and `NNNNN.png`,
  numbered from 0 (official frame number minus one), whose depth is floor(255 * depth / maximum), each frame with its
  own maximum, together with a table `id,max_depth_m` of those maxima (ids official, from 1) and the official
  `splits.mat` (from ankurhanda/nyuv2-meta-data):
      python -m experiments.prepare_nyu_frames repository --frames CHECKOUT/data/nyu_datasets \
          --maxima max_depth_estimates_all.csv --splits splits.mat --out data/nyu_frames
* a folder with `train/` and `test/` of `NNNN_rgb.webp`, `NNNN_depth.png` and `index.csv` (that is `id,max_depth_m`):
      python -m experiments.prepare_nyu_frames subset --frames FOLDER --out data/nyu_frames
* a folder of mixed metric frames with `manifest.json` (name, width, height, fx_fy_cx_cy) and 16-bit millimetre depth:
      python -m experiments.prepare_nyu_frames metric --frames FOLDER --out data/metric_frames --without nyu

Only `repository` writes pictures: halved to 320x240, colour with Lanczos, depth by every second pixel (a mean would
invent depths at edges). The other two write an index that points at the pictures where they are. Frames without a
known maximum are left out. Takes about half a minute.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Annotated

import tyro

from pixlab.data.images import encode_png, read_depth_png, read_image
from pixlab.data.nyu_labeled import INTRINSICS
from pixlab.data.rgbd_folder import write_index
from pixlab.errors import UserError

# Pixel i of the halved depth is pixel 2i of the full one; the halved colour lies a quarter of its pixel beside it.
HALVED_CAMERA = dict(zip(("fx", "fy", "cx", "cy"), (INTRINSICS.astype(float) / 2).round(6).tolist(), strict=True))


def maxima(file: Path) -> dict[int, float]:
    """Official frame number -> the depth in metres that the stored value 255 stands for."""
    with file.open(newline="") as lines:
        return {int(row["id"]): float(row["max_depth_m"]) for row in csv.DictReader(lines)}


def relative_depth(maximum: float) -> dict[str, float]:
    """Index columns for depth stored as floor(255 * depth / maximum): the value stands for the middle of its step."""
    return {"scale": 255 / maximum, "offset": 0.5}


def pointer(out: Path, file: Path) -> str:
    """The path of `file` as the index in `out` writes it."""
    return os.path.relpath(file.resolve(), out.resolve())


def halve(frames: Path, out: Path, number: int) -> dict[str, str]:
    """Write frame `number` (official) at half the size into `out` and return its index columns."""
    from PIL import Image

    source = frames / f"{number - 1:05d}"
    image = read_image(source.with_suffix(".jpg"))
    depth = read_depth_png(source.with_suffix(".png"))
    if image.shape != (480, 640, 3) or depth.shape != (480, 640):
        raise UserError(f"{source}: colour {image.shape} and depth {depth.shape} must both be 640x480")
    name = f"{number:04d}"
    small = Image.fromarray(image).resize((320, 240), Image.Resampling.LANCZOS)
    small.save(out / f"{name}_rgb.jpg", quality=95, subsampling=0)
    (out / f"{name}_depth.png").write_bytes(encode_png(depth[::2, ::2]))
    return {"name": name, "rgb": f"{name}_rgb.jpg", "depth": f"{name}_depth.png"}


Maxima = Annotated[Path, tyro.conf.arg(name="maxima")]


def repository(frames: Path, maxima_file: Maxima, splits: Path, out: Path) -> None:
    """Halve the frames of a checkout; official 795/654 split."""
    import scipy.io

    lists = scipy.io.loadmat(splits)
    train, test = (set(lists[key].ravel().tolist()) for key in ("trainNdxs", "testNdxs"))
    if len(train) != 795 or len(test) != 654 or train & test:
        raise UserError(f"{splits}: not the official split of 795 training and 654 test frames")
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, maximum in sorted(maxima(maxima_file).items()):
        row = halve(frames, out, number) | relative_depth(maximum) | HALVED_CAMERA
        rows.append(row | {"split": "train" if number in train else "test"})
    report(out, rows)


def subset(frames: Path, out: Path) -> None:
    """Index a folder with train/ and test/ of halved frames and their index.csv."""
    rows = []
    for split in ("train", "test"):
        for number, maximum in sorted(maxima(frames / split / "index.csv").items()):
            base = frames / split / f"{number:04d}"
            row = {"name": base.name, "split": split} | relative_depth(maximum) | HALVED_CAMERA
            files = {"rgb": f"{base}_rgb.webp", "depth": f"{base}_depth.png", "label": f"{base}_label40.png"}
            rows.append(row | {key: pointer(out, Path(f)) for key, f in files.items() if Path(f).exists()})
    report(out, rows)


def metric(frames: Path, out: Path, without: tuple[str, ...] = ()) -> None:
    """Index a folder with manifest.json and 16-bit millimetre depth; all frames are test.

    Frames whose name begins with one of `without` are left out: for a check on other data, those of NYU.
    """
    rows = []
    for frame in json.loads((frames / "manifest.json").read_text()):
        if frame["name"].startswith(without):
            continue
        row = {"name": frame["name"], "split": "test", "scale": 1000}
        row |= {"rgb": pointer(out, frames / f"{frame['name']}_rgb.webp")}
        row |= {"depth": pointer(out, frames / f"{frame['name']}_depth.png")}
        rows.append(row | dict(zip(("fx", "fy", "cx", "cy"), frame["fx_fy_cx_cy"] or (), strict=False)))
    report(out, rows)


def report(out: Path, rows: list[dict]) -> None:
    """Write the index and say how many frames each split has."""
    file = write_index(out, rows)
    counts = {split: sum(row["split"] == split for row in rows) for split in ("train", "test")}
    print(f"{file}: {counts['train']} train, {counts['test']} test")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"repository": repository, "subset": subset, "metric": metric})
