"""Data sets of rooms: frames with depth, normals and labels."""

from __future__ import annotations

import pathlib

from pixlab.data.pipeline import Source
from pixlab.data.prepared import Entry, by_hand_dir, data_dir, folder_entry, need, open_prepared, prepare
from pixlab.errors import UserError


def rooms(split: str) -> Source:
    """The built-in rooms, made on first use. Raises UserError where they are damaged."""

    def read() -> Source:
        from pixlab.data.builders.rooms import RoomsSource

        prepare_rooms()
        return RoomsSource(data_dir(), split)

    if not rooms_ready():
        prepare("rooms", prepare_rooms)
    return open_prepared("rooms", read)


def nyu_depth_v2(split: str, *, normals: bool) -> Source:
    """TFDS nyu_depth_v2. Raises UserError with the command that prepares it."""

    def read() -> Source:
        from pixlab.data.builders.nyu_depth_v2 import NyuDepthV2

        return NyuDepthV2(data_dir(), split, normals=normals, cache=_cache("nyu_depth_v2"))

    need("nyu_depth_v2", _nyu_ready())
    return open_prepared("nyu_depth_v2", read)


def nyu_labeled(split: str, *, normals: bool, classes: int, path: str = "") -> Source:
    """The official labelled frames in `path`, or where `data list` says. Raises UserError where files are absent."""
    from pixlab.data.nyu_labeled import NyuLabeled

    if not path:
        need("nyu_labeled", _labeled_ready())
    folder = pathlib.Path(path) if path else by_hand_dir("nyu_labeled")
    return NyuLabeled(folder, split, classes=classes, normals=normals, cache=_cache("nyu_labeled"))


def rgbd_folder(path: str, split: str, *, normals: bool) -> Source:
    """Anyone's folder of RGB-D frames; see pixlab/data/rgbd_folder.py for its layouts."""
    from pixlab.data.rgbd_folder import RgbdFolder

    folder = pathlib.Path(path).expanduser()
    return RgbdFolder(folder, split, normals=normals, cache=_cache("rgbd_folder", folder))


def _cache(*parts: str | pathlib.Path) -> pathlib.Path:
    """Where normals fitted to depth are kept."""
    names = [part if isinstance(part, str) else str(part.resolve()).strip("/").replace("/", "-") for part in parts]
    return data_dir().joinpath("pixlab_normals", *names)


def prepare_rooms() -> str:
    """Make the rooms; returns what to say of it."""
    from pixlab.data.builders import rooms as builders

    builder = builders.prepare(data_dir())
    return f"rooms is prepared in {builder.data_path}"


def rooms_ready() -> bool:
    """Whether the rooms are made."""
    return any((data_dir() / "rooms").glob("*/dataset_info.json"))


def _nyu_ready() -> bool:
    return any((data_dir() / "nyu_depth_v2").glob("*/dataset_info.json"))


def _prepare_nyu() -> str:
    from pixlab.data.builders.nyu_depth_v2 import Builder

    archive = by_hand_dir("nyudepthv2.tar.gz")
    builder = Builder(data_dir=data_dir(), file_format="array_record", archive=archive if archive.exists() else None)
    builder.download_and_prepare()
    return f"nyu_depth_v2 is prepared in {builder.data_path}"


def _labeled_ready() -> bool:
    return (by_hand_dir("nyu_labeled") / "nyu_depth_v2_labeled.mat").exists()


def _prepare_labeled() -> str:
    from pixlab.data.nyu_labeled import NyuLabeled

    folder = by_hand_dir("nyu_labeled")
    if not _labeled_ready():
        raise UserError(f"nyu_labeled is downloaded by hand: {_labeled_by_hand()}")
    counts = {split: len(NyuLabeled(folder, split)) for split in ("train", "test")}
    return f"nyu_labeled is ready in {folder}: {counts['train']} training and {counts['test']} test frames"


def _labeled_by_hand() -> str:
    files = "nyu_depth_v2_labeled.mat and splits.mat (cs.nyu.edu/~silberman) and classMapping40.mat"
    return f"{files} (github.com/ankurhanda/nyuv2-meta-data), into {by_hand_dir('nyu_labeled')}"


ENTRIES = (
    Entry(
        "rooms",
        "850 + 120 procedural furnished rooms, 120x160: depth, normals, labels, stereo, flow",
        "made on this machine, the same everywhere, on first use",
        "Apache-2.0, as pixlab",
        "100 MB",
        lambda: "nothing",
        rooms_ready,
        prepare_rooms,
    ),
    Entry(
        "nyu_depth_v2",
        "NYU Depth v2: 47,584 Kinect frames of 249 scenes and the 654 official test frames, 480x640, depth in-painted",
        "TFDS, from FastDepth's export of Silberman et al., ECCV 2012",
        "research use; cite Silberman et al.",
        "34 GB archive; normals, fitted when first asked for, another 85 GB",
        lambda: f"nothing, or nyudepthv2.tar.gz at {by_hand_dir('nyudepthv2.tar.gz')}",
        _nyu_ready,
        _prepare_nyu,
    ),
    Entry(
        "nyu_labeled",
        "NYU Depth v2, the 795 + 654 labelled frames, 480x640: depth, 894/40/13/4 labels, normals by plane fitting",
        "Silberman et al., ECCV 2012",
        "research use; cite Silberman et al.",
        "2.8 GB",
        _labeled_by_hand,
        _labeled_ready,
        _prepare_labeled,
    ),
    folder_entry(
        "rgbd_folder",
        "your own folder of RGB images and 16-bit depth (pixlab/data/rgbd_folder.py has the layouts)",
        "NAME_rgb.jpg, NAME_depth.png in millimetres, optionally train.txt and test.txt or frames.csv",
    ),
)
