"""Sets of photos that super-resolution is trained and tested on, as records of one TFDS builder with a config for each.

The picture files are taken as they are, bytes and order of names, out of an archive of a public repository, or of
what was put there by hand: a folder of pictures or an archive of one. Their number is checked.

BSD100 are the validation photos of BSDS500, which are the test photos of its predecessor BSDS300. The photos of
urban100 are those that its authors' repository has for x4, whose sizes are multiples of 4.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from pixlab.data.builders.archives import ARCHIVES, opened
from pixlab.data.images import read_image
from pixlab.data.photos import pictures
from pixlab.errors import UserError

NAME, VERSION = "photos", "1.0.0"


class Set(NamedTuple):
    """What a config consists of."""

    count: int
    repository: str  # of GitHub; empty: none is known that holds all of it
    commit: str
    members: str  # pattern of the pictures' names in the repository's archive
    what: str

    @property
    def url(self) -> str:
        """Of the repository's archive."""
        return f"https://github.com/{self.repository}/archive/{self.commit}.zip" if self.repository else ""


_SRCNN = ("tegg89/SRCNN-Tensorflow", "78be1a24697935fc39a3a8cf59a6632264afade7")
SETS = {
    "t91": Set(91, *_SRCNN, r"(^|/)Train/[^/]+\.bmp$", "The 91 training photos of Yang et al., TIP 2010."),
    "set5": Set(5, *_SRCNN, r"(^|/)Test/Set5/[^/]+\.bmp$", "Five test photos of Bevilacqua et al., BMVC 2012."),
    "set14": Set(14, *_SRCNN, r"(^|/)Test/Set14/[^/]+\.bmp$", "14 test photos of Zeyde et al., 2010, one grey."),
    "bsd100": Set(
        100,
        "BIDS/BSDS500",
        "a04b7c6c3a9f0ace74bf205c72a43d32e1c72722",
        r"(^|/)images/val/[^/]+\.jpg$",
        "100 test photos of Martin et al., ICCV 2001.",
    ),
    "urban100": Set(
        100,
        "jbhuang0604/SelfExSR",
        "8f6dd8c1d20cb7e8792a7177b4f6fd677633f598",
        r"(^|/)Urban100/image_SRF_4/[^/]+_HR\.png$",
        "100 test photos of buildings by Huang et al., CVPR 2015.",
    ),
    "general100": Set(100, "", "", "", "100 training photos of Dong et al., ECCV 2016 (FSRCNN)."),
}
HIGH = r"(^|/)(HR|GTmod12|original)/[^/]+$"  # where collections that have low resolution as well keep the photos


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TFDS builder: `Builder(config="set5", data_dir=..., file_format="array_record").download_and_prepare()`.

    by_hand: folder with NAME/ or NAME.zip (also .tar, .tar.gz ...) for the config NAME; without it, the archive is
    downloaded. Raises UserError for what cannot be downloaded or read, and for another number of pictures.
    """

    name = NAME
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=key, version=VERSION, description=s.what) for key, s in SETS.items()
    ]

    def __init__(self, *, by_hand: str | os.PathLike, **options: Any):
        self.by_hand = Path(by_hand).expanduser()
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(), "name": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self,
            description=SETS[self.builder_config.name].what,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"photos": self._generate_examples(self._place(dl_manager))}

    def _place(self, dl_manager) -> Path:
        """The folder or archive as it lies in `by_hand`, or the archive as downloaded."""
        key = self.builder_config.name
        for suffix in ("", *ARCHIVES):
            if (path := self.by_hand / f"{key}{suffix}").exists():
                return path
        url, put = SETS[key].url, f"put its pictures into {self.by_hand / key}, or an archive there as {key}.zip"
        if not url:
            raise UserError(f"{key} is downloaded by hand: {put}")
        try:
            return Path(dl_manager.download(url))
        except Exception as error:  # of TFDS and of the network
            reason = (str(error).splitlines() or [repr(error)])[0][:150]
            raise UserError(f"{url} cannot be downloaded ({reason}); {put}") from error

    def _generate_examples(self, place: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, (name, data) in enumerate(read_set(place, self.builder_config.name)):
            read_image(data, name=f"{place}: {name}")
            yield number, {"image": io.BytesIO(data), "name": name.rsplit("/", 1)[-1]}


def read_set(place: Path, key: str) -> list[tuple[str, bytes]]:
    """(name, bytes) of the pictures of set `key` in a folder or archive, in natural order of their names.

    Of an archive of the set's repository its own part counts; of a collection that has low resolution as well, what
    lies in a folder called HR. Raises UserError for an archive that is damaged, and for another number of pictures.
    """
    with opened(place) as files:
        return [(name, files.read(name)) for name in chosen(files.names, key, place)]


def chosen(names: list[str], key: str, place: Path) -> list[str]:
    """Those of the names that are the set's. Raises UserError where they are not as many as they should be."""
    found, wanted = pictures(names), SETS[key]
    for pattern in (wanted.members, HIGH):
        if pattern and (those := [name for name in found if re.search(pattern, name)]):
            found = those
            break
    if len(found) != wanted.count:
        raise UserError(
            f"{place}: has {len(found)} pictures, but {key} has {wanted.count}; fetch all of it, and no more"
        )
    return found
