"""Anyone's folder of colour + depth images as a source of frames.

Layout 1, no index: `NAME_rgb.(png|jpg|jpeg|webp|bmp)` with `NAME_depth.png` (and `NAME_label.png`) side by side, or
sub-folders `rgb/` and `depth/` (and `label/`) whose files have equal stems. `train.txt`, `test.txt` ... list the names
of a split, one a line; without any list, the last tenth of the frames in the order of their names (one at least) is
`test` and the rest `train`, so that neighbouring video frames mostly stay on one side. `intrinsics.txt` may hold
`fx fy cx cy`.

Layout 2, `frames.csv`: a row a frame, with the frame's own scale, split and camera: see `pixlab.data.rgbd_index`.

Depth in metres is (stored value + offset) / scale; a pixel has no measurement where the stored value equals `none` (0
unless the index says otherwise) or where the depth is not positive.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixlab.data.images import read_depth_png, read_image, read_label_png
from pixlab.data.rgbd_index import INDEX, Row, read_index, write_index
from pixlab.data.split_lists import splits_of
from pixlab.errors import NoSplit, UserError

__all__ = ["RgbdFolder", "frame_normal", "guessed_intrinsics", "write_index"]

RGB_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MILLIMETRES = 1000.0  # stored values per metre
GUESSED_FIELD_OF_VIEW = 60.0  # degrees across; Kinect-like cameras see 57 to 63


def guessed_intrinsics(height: int, width: int) -> np.ndarray:
    """float32 [4] fx, fy, cx, cy in pixels of a camera that sees 60 degrees across and looks through the centre."""
    focal = width / 2 / math.tan(math.radians(GUESSED_FIELD_OF_VIEW / 2))
    return np.array([focal, focal, (width - 1) / 2, (height - 1) / 2], np.float32)


def frame_normal(depth: np.ndarray, intrinsics: np.ndarray, cache: Path | None = None) -> np.ndarray:
    """float16 [H, W, 3] normals fitted to depth [H, W, 1]; zeros where there is none.

    cache: a folder that keeps them (1.8 MB a 640x480 frame) for the next time, since fitting takes far longer
    than reading; None, or a disk that is full, fits every time. Files are named by what the fit depends on, so that
    another scale, camera or depth image never meets old normals.
    """
    from pixlab.data.normals_from_depth import normals_from_depth

    file = None
    if cache is not None:
        digest = hashlib.sha256(np.ascontiguousarray(depth))
        digest.update(intrinsics)
        digest = digest.hexdigest()[:32]
        file = cache / digest[:2] / f"{digest}.npy"
        with contextlib.suppress(OSError, ValueError, EOFError):  # not there yet, or damaged: fitted anew
            return np.load(file)
    normal, valid = normals_from_depth(depth, intrinsics)
    normal = np.where(valid > 0, normal, 0).astype(np.float16)
    if file is not None:
        partial = file.with_name(f"{digest}.{os.getpid()}.{threading.get_ident()}.partial.npy")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(partial, normal)
            os.replace(partial, file)  # other readers see all of the file or none of it
        except OSError:  # a full disk costs time, not the run
            with contextlib.suppress(OSError):
                partial.unlink()
    return normal


@functools.lru_cache(maxsize=8)
def metres(scale: float, offset: float, none: int) -> np.ndarray:
    """float32 [65536]: the depth in metres that each stored value stands for, 0 where it is no measurement."""
    stored = np.arange(2**16)
    metres = (stored + offset) / scale
    return np.where((stored == none) | (metres <= 0), 0, metres).astype(np.float32)


class RgbdFolder:
    """The frames of one split of a folder of RGB-D images; the module's text has the layouts.

    Each frame has "image" uint8 [H, W, 3], "depth" float32 [H, W, 1] metres (0 = no measurement), "intrinsics"
    float32 [4] (the frame's own, else `intrinsics`, else intrinsics.txt, else a guess: 60 degrees across), "label"
    int32 [H, W, 1] when any frame of the split has one (zeros where a frame has none), and "normal" float16 [H, W, 3]
    with `normals=True` (kept in the folder `cache` when that is given).
    split: a name that the lists or the index give, or "all". scale: stored values per metre, where a row has no own.
    Raises UserError on construction for a folder, index, list or split that is wrong, and on reading a frame for
    files that are damaged or do not fit together.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        split: str = "train",
        *,
        scale: float = MILLIMETRES,
        intrinsics: Sequence[float] | None = None,
        normals: bool = False,
        cache: str | os.PathLike | None = None,
    ):
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: no such folder; give the folder that holds the frames")
        if not scale > 0:
            raise UserError(f"scale is {scale} but must be positive: stored values per metre, 1000 for millimetres")
        if intrinsics is not None and len(intrinsics) != 4:
            raise UserError(f"intrinsics has {len(intrinsics)} numbers but needs four: fx, fy, cx, cy in pixels")
        self.split, self.scale, self.normals = split, float(scale), normals
        self.cache = None if cache is None else Path(cache).expanduser()
        self.intrinsics = _shared_intrinsics(self.folder) if intrinsics is None else tuple(map(float, intrinsics))
        rows = read_index(self.folder) if (self.folder / INDEX).exists() else _pairs(self.folder)
        if not any(row.split for row in rows):
            splits = splits_of(self.folder, [row.name for row in rows])
            rows = [row._replace(split=split) for row, split in zip(rows, splits, strict=True)]
        splits = sorted({row.split for row in rows if row.split})
        self.rows = [row for row in rows if split in ("all", row.split)]
        if not self.rows:
            known = ", ".join([*splits, "all"])
            raise NoSplit(f"{self.folder}: no frames in split '{split}'; it has {known}")
        self._labelled = any(row.label for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def record_name(self, index: int) -> str:
        """What error messages call frame `index`."""
        return f"{self.folder}: {self.rows[index].name}"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        row = self.rows[index]
        image, stored = read_image(row.rgb), read_depth_png(row.depth)
        _same_size(row.rgb, image, row.depth, stored)
        scale = row.scale or self.scale
        if stored.dtype == np.uint8 and scale == MILLIMETRES:
            raise UserError(f"{row.depth}: 8-bit depth cannot be millimetres; give 'scale', stored values per metre")
        depth = metres(scale, row.offset, row.none).take(stored)[..., None]
        if not depth.any():
            raise UserError(f"{row.depth}: no pixel has a depth; take the frame out or check its 'none' and 'offset'")
        intrinsics = row.intrinsics or self.intrinsics
        frame = {"image": image, "depth": depth}
        frame["intrinsics"] = np.array(intrinsics, np.float32) if intrinsics else guessed_intrinsics(*stored.shape)
        if self._labelled:
            label = np.zeros(stored.shape, np.int32) if row.label is None else read_label_png(row.label)
            _same_size(row.rgb, image, row.label, label)
            frame["label"] = label[..., None]
        if self.normals:
            frame["normal"] = frame_normal(depth, frame["intrinsics"], self.cache)
        return frame


def _same_size(image_file, image, other_file, other):
    if image.shape[:2] != other.shape[:2]:
        (h, w), (oh, ow) = image.shape[:2], other.shape[:2]
        raise UserError(f"{image_file} is {w}x{h} but {other_file} is {ow}x{oh}; the two must have one size")


def _shared_intrinsics(folder: Path) -> tuple[float, ...] | None:
    file = folder / "intrinsics.txt"
    if not file.exists():
        return None
    try:
        fx, fy, cx, cy = map(float, file.read_text().replace(",", " ").split())
    except ValueError:
        raise UserError(f"{file}: must hold four numbers, fx fy cx cy in pixels") from None
    return fx, fy, cx, cy


def _pairs(folder: Path) -> list[Row]:
    """The frames of a folder without an index, in the order of their names."""
    if (folder / "rgb").is_dir() and (folder / "depth").is_dir():
        rgb = {f.stem: f for f in sorted((folder / "rgb").iterdir()) if f.suffix.lower() in RGB_SUFFIXES}
        depth, label = ({f.stem: f for f in folder.glob(f"{kind}/*.png")} for kind in ("depth", "label"))
    else:
        rgb = {f.stem[:-4]: f for f in sorted(folder.glob("*_rgb.*")) if f.suffix.lower() in RGB_SUFFIXES}
        depth = {f.stem[:-6]: f for f in folder.glob("*_depth.png")}
        label = {f.stem[:-6]: f for f in folder.glob("*_label.png")}
    if not rgb and not depth:
        raise UserError(
            f"{folder}: no frames; it needs {INDEX}, or NAME_rgb.png with NAME_depth.png, or folders rgb/ and depth/"
        )
    alone = sorted(rgb.keys() ^ depth.keys())
    if alone:
        found, missing = ("depth", "colour") if alone[0] in depth else ("colour", "depth")
        raise UserError(f"{folder}: '{alone[0]}' has a {found} image but no {missing} image; add it or take it away")
    return [Row(name, rgb[name], depth[name], label.get(name)) for name in sorted(rgb)]
