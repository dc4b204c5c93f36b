"""div2k, imagenet2012 and places365_small as TFDS knows them, prepared without TensorFlow.

Names, versions and features are those of the stock TFDS builders, which need TensorFlow to open files; a directory that
a stock builder prepared as array_record works as well. Pictures are read out of the archives as they are: nothing is
unpacked to disk, nothing is encoded anew (the stock imagenet2012 turns 23 CMYK and PNG files into RGB JPEG).
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from pixlab.errors import UserError

Examples = Iterator[tuple[str, dict[str, Any]]]
DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
PLACES = "http://data.csail.mit.edu/places/places365/"


class Div2k(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The config "bicubic_x8", which is the smallest download: the photos are the same in all."""

    name = "div2k"
    VERSION = tfds.core.Version("2.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="bicubic_x8", version="2.0.0", description="Shrunk 8 times.")]

    def _info(self) -> tfds.core.DatasetInfo:
        return _info(self, {"lr": tfds.features.Image(), "hr": tfds.features.Image()}, DIV2K)

    def _split_generators(self, dl_manager):
        names = {"train": "train", "validation": "valid"}
        urls = {f"{s}_{k}": f"{DIV2K}DIV2K_{n}_{k}.zip" for s, n in names.items() for k in ("HR", "LR_x8")}
        paths = _download(dl_manager, urls)
        return {split: self._generate_examples(paths[f"{split}_HR"], paths[f"{split}_LR_x8"]) for split in names}

    def _generate_examples(self, high: Path, low: Path) -> Examples:
        with zipfile.ZipFile(high) as highs, zipfile.ZipFile(low) as lows:
            of = {os.path.basename(name)[:4]: name for name in highs.namelist() if name.endswith(".png")}
            for name in sorted(name for name in lows.namelist() if name.endswith(".png")):
                key = os.path.basename(name)
                yield key, {"lr": io.BytesIO(lows.read(name)), "hr": io.BytesIO(highs.read(of[key[:4]]))}


class ImageNet2012(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """by_hand: the folder with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, or one of them."""

    name = "imagenet2012"
    VERSION = tfds.core.Version("5.1.0")

    def __init__(self, *, by_hand: str | os.PathLike, **options: Any):
        self.by_hand = Path(by_hand).expanduser()
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        labels = tfds.features.ClassLabel(names_file=tfds.core.tfds_path("datasets/imagenet2012/labels.txt"))
        image = tfds.features.Image(encoding_format="jpeg")
        return _info(
            self, {"image": image, "label": labels, "file_name": tfds.features.Text()}, "https://image-net.org/"
        )

    def _split_generators(self, dl_manager):
        files = {"train": "ILSVRC2012_img_train.tar", "validation": "ILSVRC2012_img_val.tar"}
        there = {split: self.by_hand / file for split, file in files.items() if (self.by_hand / file).exists()}
        if not there:
            raise UserError(
                f"imagenet2012 is downloaded by hand: put {' and '.join(files.values())} into {self.by_hand}"
            )
        return {s: (self._validation if s == "validation" else self._generate_examples)(p) for s, p in there.items()}

    def _generate_examples(self, archive: Path) -> Examples:
        for synset, inner in members(archive):
            for name, data in members(io.BytesIO(inner)):
                yield name, {"image": io.BytesIO(data), "label": synset.removesuffix(".tar"), "file_name": name}

    def _validation(self, archive: Path) -> Examples:
        labels = tfds.core.tfds_path("datasets/imagenet2012/validation_labels.txt").read_text().split()
        for name, data in members(archive):  # ILSVRC2012_val_00000001.JPEG is the first
            label = labels[int(os.path.splitext(name)[0].rpartition("_")[2]) - 1]
            yield name, {"image": io.BytesIO(data), "label": label, "file_name": name}


class Places365Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The photos of 256x256, training and validation."""

    name = "places365_small"
    VERSION = tfds.core.Version("2.1.0")

    def _info(self) -> tfds.core.DatasetInfo:
        names = tfds.core.tfds_path("image_classification/categories_places365.txt")
        features = {
            "image": tfds.features.Image(shape=(256, 256, 3)),
            "label": tfds.features.ClassLabel(names_file=names),
            "filename": tfds.features.Text(),
        }
        return _info(self, features, "http://places2.csail.mit.edu/")

    def _split_generators(self, dl_manager):
        files = {"train": "train_256_places365standard.tar", "validation": "val_256.tar"}
        lists = {"train": "places365_train_standard.txt", "validation": "places365_val.txt"}
        urls = {name: PLACES + name for name in (*files.values(), "filelist_places365-standard.tar")}
        paths = _download(dl_manager, urls)
        texts = {os.path.basename(name): data for name, data in members(paths["filelist_places365-standard.tar"])}
        return {split: self._generate_examples(paths[files[split]], texts[lists[split]]) for split in files}

    def _generate_examples(self, archive: Path, text: bytes) -> Examples:
        labels = dict(line.rsplit(" ", 1) for line in text.decode().splitlines())
        for name, data in members(archive):
            key = name.partition("/")[2]  # lists of training photos begin their names with /
            yield (
                name,
                {"image": io.BytesIO(data), "label": int(labels.get(key, labels.get(f"/{key}"))), "filename": name},
            )


def members(archive: Path | io.BytesIO) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each file in a tar archive, in its order. Raises UserError where it is damaged."""
    try:
        with tarfile.open(archive) if isinstance(archive, Path) else tarfile.open(fileobj=archive) as file:
            for member in file:
                if member.isfile():
                    yield member.name, file.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{archive}: not a whole tar archive ({error}); download it again") from error


def _info(builder: tfds.core.DatasetBuilder, features: Mapping[str, Any], homepage: str) -> tfds.core.DatasetInfo:
    about = dict(description=type(builder).__doc__, homepage=homepage)
    return tfds.core.DatasetInfo(builder=builder, features=tfds.features.FeaturesDict(features), **about)


def _download(dl_manager: tfds.download.DownloadManager, urls: Mapping[str, str]) -> dict[str, Path]:
    """The downloaded files, by the names of their addresses. Raises UserError where one cannot be downloaded."""
    try:
        return {name: Path(path) for name, path in dl_manager.download(dict(urls)).items()}
    except Exception as error:  # of TFDS and of the network
        reason = (str(error).splitlines() or [repr(error)])[0][:150]
        raise UserError(f"{', '.join(urls.values())} cannot be downloaded ({reason}); try again later") from error
