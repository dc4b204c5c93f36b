"""NYU Depth v2 as TFDS knows it (47,584 training frames, the 654 official test frames), prepared without TensorFlow.

Name, version, features and splits are those of the stock TFDS builder `nyu_depth_v2`, and so is what is read back; a
directory that the stock builder prepared as array_record works as well. The archive is FastDepth's export (Wofk, Ma,
Yang, Karaman & Sze, ICRA 2019) of the raw Kinect frames of Silberman, Hoiem, Kohli & Fergus, ECCV 2012, depth
in-painted: `nyudepthv2/train/SCENE/NNNNN.h5` and `nyudepthv2/val/official/NNNNN.h5`, each with rgb [3, 480, 640] uint8
and depth [480, 640] metres.

The frames are read out of the compressed archive as it streams by, once for each split: nothing is unpacked to disk.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pixlab.data.images import encode_png
from pixlab.data.nyu_labeled import INTRINSICS
from pixlab.data.rgbd_folder import frame_normal
from pixlab.errors import UserError

URL = "http://datasets.lids.mit.edu/fastdepth/data/nyudepthv2.tar.gz"  # 34,276,493,134 bytes
NAME, VERSION = "nyu_depth_v2", "0.0.1"
SIZE = (480, 640)


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # the stock builder holds the name
    """TFDS builder: `Builder(data_dir=..., file_format="array_record").download_and_prepare()`.

    archive: nyudepthv2.tar.gz, downloaded by hand; without it the archive is downloaded (TFDS also takes
    `DOWNLOADS/manual/nyudepthv2.tar.gz`, and checks its sum). Raises UserError for an archive that is absent, cut
    short, or holds other things.
    """

    name = NAME
    VERSION = tfds.core.Version(VERSION)
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Optional: {URL}"

    def __init__(self, *, archive: str | os.PathLike | None = None, **options: Any):
        self.archive = archive
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(*SIZE, 3)),
            "depth": tfds.features.Tensor(shape=SIZE, dtype=np.float16),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__.splitlines()[0],
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "depth"),
            homepage="https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html",
        )

    def _split_generators(self, dl_manager):
        archive = Path(self.archive).expanduser() if self.archive else Path(dl_manager.download(URL))
        if not archive.is_file():
            raise UserError(f"{archive}: no such file; download {URL} and give its path")
        folders = {"train": "train", "validation": "val"}
        return {split: self._generate_examples(archive, folder) for split, folder in folders.items()}

    def _generate_examples(self, archive: Path, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, data in members(archive, folder):
            yield key, example(f"{archive}: {folder}/{key}", data)


def members(archive: Path, folder: str) -> Iterator[tuple[str, bytes]]:
    """(SCENE_FILE, bytes) of every HDF5 file two levels under `folder` ("train" or "val") of the archive.

    Raises UserError when the archive cannot be read to its end or has no such file.
    """
    wanted = re.compile(rf"(?:.*/)?{folder}/([^/]+)/([^/.][^/]*\.h5)")
    found = False
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                match = wanted.fullmatch(str(PurePosixPath(member.name)))
                if match and member.isfile():
                    found = True
                    yield f"{match[1]}_{match[2]}", tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{archive}: not a whole tar archive ({error}); download {URL} again") from error
    if not found:
        raise UserError(f"{archive}: no {folder}/SCENE/FILE.h5 in it; it must be {URL}")


def example(name: str, data: bytes) -> dict[str, Any]:
    """One example as the features want it: the image as PNG bytes (encoding an array would take TensorFlow)."""
    import h5py

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            rgb, depth = file["rgb"][:], file["depth"][:]
    except (OSError, KeyError) as error:
        raise UserError(f"{name}: not an HDF5 file with rgb and depth ({error}); download {URL} again") from error
    if rgb.shape != (3, *SIZE) or rgb.dtype != np.uint8 or depth.shape != SIZE:
        found = f"rgb {rgb.dtype} {rgb.shape} and depth {depth.shape}"
        raise UserError(f"{name}: {found} must be uint8 (3, 480, 640) and (480, 640); download {URL} again")
    image = encode_png(rgb.transpose(1, 2, 0), level=3)  # a third of the time of level 6, a tenth more bytes
    return {"image": io.BytesIO(image), "depth": depth.astype(np.float16)}


class NyuDepthV2:
    """The frames of one split of a prepared `nyu_depth_v2`, ours or the stock one.

    Each frame has "image" uint8 [480, 640, 3], "depth" float32 [480, 640, 1] metres (stored as float16: 4 mm steps at
    8 m), "intrinsics" float32 [4] of the colour camera, and "normal" float16 [480, 640, 3] with `normals=True` (kept
    in the folder `cache` when that is given).
    data_dir: TFDS's data directory (with nyu_depth_v2/0.0.1 in it), or that directory itself. split: "train",
    "validation", slices such as "train[:10%]", or "test", which is "validation": the 654 official test frames.
    Raises UserError when nothing is prepared there, or in a format that only TensorFlow reads.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike,
        split: str = "train",
        *,
        normals: bool = False,
        cache: str | os.PathLike | None = None,
    ):
        self.folder = prepared(data_dir)
        self.split, self.normals = split, normals
        self.cache = None if cache is None else Path(cache).expanduser()
        builder = tfds.builder_from_directory(self.folder)
        if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
            found = builder.info.file_format.value
            raise UserError(f"{self.folder}: prepared as {found}, which needs TensorFlow; prepare it as array_record")
        part = re.sub(r"^test\b", "validation", split)
        try:
            self.records = builder.as_data_source(part)
        except ValueError as error:
            known = ", ".join(builder.info.splits)
            raise UserError(f"{self.folder}: no split '{split}' (it has {known}): {error}".splitlines()[0]) from error

    def __len__(self) -> int:
        return len(self.records)

    def record_name(self, index: int) -> str:
        """What error messages call frame `index`."""
        return f"{self.folder}: {self.split} record {index}"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        try:
            record = self.records[int(index)]
        except IndexError:
            raise
        except Exception as error:  # readers and decoders raise many kinds
            reason = " ".join(str(error).split())
            raise UserError(f"{self.record_name(index)}: cannot be read ({reason}); prepare it again") from error
        depth = record["depth"].astype(np.float32)[..., None]
        frame = {"image": record["image"], "depth": depth, "intrinsics": INTRINSICS.copy()}
        if self.normals:
            frame["normal"] = frame_normal(depth, INTRINSICS, self.cache)
        return frame


def prepared(data_dir: str | os.PathLike) -> Path:
    """The directory that holds the prepared records. Raises UserError when there is none."""
    data_dir = Path(data_dir).expanduser()
    for folder in (data_dir, data_dir / NAME / VERSION):
        if (folder / "dataset_info.json").exists():
            return folder
    raise UserError(f"{data_dir}: no prepared {NAME}; prepare it with pixlab.data.builders.{NAME}.Builder")
