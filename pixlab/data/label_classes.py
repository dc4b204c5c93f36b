"""The classes of data sets with labels: names, the label that counts for nothing, colours.

CamVid: the 11 classes of SegNet (Badrinarayanan, Kendall & Cipolla, TPAMI 2017). VOC: Everingham et al., IJCV 2010.
Cityscapes: the 19 classes that are scored (Cordts et al., CVPR 2016). SIFT Flow: Liu, Yuen & Torralba, TPAMI 2011, in
the alphabetical order of its files. Scene Parsing: the 150 classes of ADE20K's benchmark (Zhou et al., CVPR 2017), each
by the first of its names. Pets: Parkhi et al., CVPR 2012.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from pixlab.colours import distinct_colours
from pixlab.data.rooms_labels import NAMES as ROOMS_NAMES
from pixlab.data.rooms_labels import UNLABELLED

NOTHING = 255  # by custom, a label that is no class


class Classes(NamedTuple):
    """What the labels of a set mean: label i is `names[i]`."""

    names: tuple[str, ...]
    ignore: int  # the label of pixels that count for nothing; it is one of the names, or lies beyond them
    published: tuple[tuple[int, int, int], ...] = ()  # red, green and blue of each class, where the set has its own

    @property
    def count(self) -> int:
        """Number of classes, which networks have as many scores of."""
        return len(self.names)

    @property
    def colours(self) -> UInt8[np.ndarray, "n 3"]:
        """A colour for each class: the set's own, or such as are easily told apart."""
        return np.array(self.published, np.uint8) if self.published else distinct_colours(len(self.names))


def voc_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """The first colours of VOC's palette: bits 0, 1, 2 of the label are the highest of red, green and blue, and so on.

    Everingham et al., IJCV 2010, as their development kit draws labels.
    """
    bits = [[(label >> 3 * place & 7, 7 - place) for place in range(8)] for label in range(count)]
    return tuple(tuple(sum((b >> c & 1) << at for b, at in one) for c in range(3)) for one in bits)


ROOMS = Classes(tuple(ROOMS_NAMES), UNLABELLED)

CAMVID = Classes(
    ("sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist"),
    11,
    (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
        (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip

VOC = Classes(
    (
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
    ),
    NOTHING,
    voc_palette(21),
)  # fmt: skip

CITYSCAPES = Classes(
    (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    NOTHING,
    (
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
        (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142),
        (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # of the classes, in files

SIFTFLOW = Classes(
    (
        "awning", "balcony", "bird", "boat", "bridge", "building", "bus", "car", "cow", "crosswalk", "desert", "door",
        "fence", "field", "grass", "moon", "mountain", "person", "plant", "pole", "river", "road", "rock", "sand",
        "sea", "sidewalk", "sign", "sky", "staircase", "streetlight", "sun", "tree", "window",
    ),
    NOTHING,
)  # fmt: skip

PETS = Classes(("pet", "background"), 2)  # 2: the outline, which the set calls "not classified"
PETS_OUTLINE = Classes(("pet", "background", "outline"), NOTHING)

SCENE_PARSE = Classes(
    (
        "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "window pane", "grass", "cabinet",
        "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water",
        "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk",
        "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard",
        "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path",
        "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge", "bookcase",
        "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove", "palm",
        "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus", "towel", "light",
        "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television", "airplane", "dirt track",
        "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage", "van",
        "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool", "barrel",
        "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank",
        "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture",
        "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor",
        "bulletin board", "shower", "radiator", "glass", "clock", "flag",
    ),
    NOTHING,
)  # fmt: skip
