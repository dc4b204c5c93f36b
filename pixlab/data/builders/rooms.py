"""TFDS builder of `rooms`: procedural RGB-D rooms, made on this machine in about a minute, nothing to download.

prepare("data")                             # once
frames = RoomsSource("data", "train")       # frames[0]["image"], frames[0]["depth"], ...
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from pixlab.data.rooms import LABELS
from pixlab.data.rooms_record import DEPTH_UNIT, PICTURES, example, records
from pixlab.errors import UserError

HEIGHT, WIDTH = 120, 160
TEST_SEEDS = 1_000_000  # test rooms have seeds from here on, training rooms from 0


class Rooms(tfds.core.GeneratorBasedBuilder):
    """Furnished rooms with exact depth, normals, labels, a right eye, and a second moment with flow.

    Construct with `file_format="array_record"` (TensorFlow is not needed) and pass records of
    `as_data_source(split)` through `example`. `train` and `test` are the numbers of rooms, `workers` the processes
    that make them (None: one per core); `progress` says on standard error how many are made, as one live line on a
    terminal, else as a line every ten seconds. Other numbers of rooms than the default belong in another `data_dir`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}

    def __init__(
        self, *, train: int = 850, test: int = 120, workers: int | None = None, progress: bool = False, **options
    ):
        self.counts, self._workers, self._progress = {"train": train, "test": test}, workers, progress
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        def tensor(shape, dtype, **options):
            return tfds.features.Tensor(shape=shape, dtype=dtype, **options)

        def plane(channels, dtype):
            return tensor((HEIGHT, WIDTH, channels), dtype, encoding="zlib")

        picture = {"shape": (HEIGHT, WIDTH, 3), "encoding_format": "png"}
        features = {name: tfds.features.Image(**picture) for name in PICTURES} | {
            "depth": plane(1, np.uint16),
            "normal": plane(3, np.float32),
            "label": plane(1, np.uint8),
            "occluded": plane(1, np.uint8),
            "flow_occluded": plane(1, np.uint8),
            "intrinsics": tensor((4,), np.float32),
            # zlib also keeps the doubles, which TFDS would otherwise store as single floats
            "pose": tensor((4, 4), np.float64, encoding="zlib"),
            "second_pose": tensor((4, 4), np.float64, encoding="zlib"),
            "baseline": tensor((), np.float32),
            "seed": tensor((), np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Procedural furnished rooms with exact depth, normals, labels, stereo and optical flow.",
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(labels=list(LABELS), depth_unit_in_metres=DEPTH_UNIT),
        )

    def _split_generators(self, dl_manager):
        first = {"train": 0, "test": TEST_SEEDS}
        return {
            split: self._generate_examples(range(first[split], first[split] + count))
            for split, count in self.counts.items()
        }

    def _generate_examples(self, seeds):
        live, shown, total = sys.stderr.isatty(), time.monotonic(), len(seeds)
        for seed, stored in zip(seeds, records(seeds, workers=self._workers), strict=True):
            done = seed - seeds.start + 1
            if self._progress and (done == total or time.monotonic() - shown > (0.2 if live else 10)):
                shown = time.monotonic()
                text = f"making rooms: {'test' if seed >= TEST_SEEDS else 'train'} {done}/{total}"
                begin, end = ("\r" if live else ""), ("" if live and done < total else "\n")
                print(begin + text, end=end, file=sys.stderr, flush=True)
            yield seed, stored | {name: io.BytesIO(stored[name]) for name in PICTURES}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """TFDS without its two printed lines and its progress bars (these stay off)."""
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def prepare(data_dir: str | os.PathLike[str], *, progress: bool = True, **options) -> Rooms:
    """The builder of `rooms` under `data_dir`, its records made first if they are not there yet (see `Rooms`).

    Raises UserError where records are there already, but of other numbers of rooms.
    """
    builder = Rooms(data_dir=os.fspath(data_dir), file_format="array_record", progress=progress, **options)
    if not builder.data_path.exists():
        with quiet():
            builder.download_and_prepare()
    have = {name: split.num_examples for name, split in builder.info.splits.items()}
    if have != builder.counts:
        want = builder.counts
        raise UserError(f"{builder.data_path} holds {have} rooms, not {want}; remove it or use another data_dir")
    return builder


class RoomsSource:
    """The frames of one split as a random-access, picklable sequence; `split` may be a slice such as "train[:50%]".

    `stereo` adds the right view, the second moment, disparity, flow, occlusion and poses (see `rooms.frame`).
    Raises UserError where `prepare(data_dir)` has not been run.
    """

    def __init__(self, data_dir: str | os.PathLike[str], split: str, *, stereo: bool = False):
        builder = Rooms(data_dir=os.fspath(data_dir), file_format="array_record")
        if not builder.data_path.exists():
            raise UserError(f"{os.fspath(data_dir)}: rooms is not prepared here; run prepare() of {__name__} first")
        # left to `example`, which wants no OpenCV and decodes only what is asked for
        raw = {name: tfds.decode.SkipDecoding() for name in PICTURES}
        self.split, self.stereo = split, stereo
        self._records = builder.as_data_source(split=split, decoders=raw)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return example(self._records[index], stereo=self.stereo)

    def record_name(self, index: int) -> str:
        """What to call a frame in messages."""
        return f"rooms/{self.split}[{index}]"
