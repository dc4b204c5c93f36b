"""The class sets of NYU Depth v2: 40, 13 and 4 names and the maps between them; 0 is unlabelled in all.

The 40 classes: Gupta, Arbelaez & Malik, "Perceptual Organization and Recognition of Indoor Scenes from RGB-D Images",
CVPR 2013. The 13: Couprie, Farabet, Najman & LeCun, "Indoor Semantic Segmentation using depth information", ICLR 2013.
The 4 (by how things stand and move): Silberman, Hoiem, Kohli & Fergus, ECCV 2012.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NAMES_40 = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf",
    "picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat",
    "clothes", "ceiling", "books", "refrigerator", "television", "paper", "towel", "shower curtain", "box",
    "whiteboard", "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "other structure",
    "other furniture", "other prop",
)  # fmt: skip
NAMES_13 = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall",
    "window",
)  # fmt: skip
NAMES_4 = ("floor", "structure", "furniture", "props")

# Entry i - 1 is the class, from 1, of class i of the 40.
TO_13 = (
    12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5,
    7, 3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7,
)  # fmt: skip
TO_4 = (
    2, 1, 3, 3, 3, 3, 3, 2, 2, 3, 4, 2, 2, 3, 3, 2, 3, 4, 4, 4,
    4, 2, 4, 3, 4, 4, 4, 2, 4, 2, 4, 3, 3, 4, 4, 3, 4, 2, 3, 4,
)  # fmt: skip

NAMES = {40: NAMES_40, 13: NAMES_13, 4: NAMES_4}
FROM_40 = {40: tuple(range(1, 41)), 13: TO_13, 4: TO_4}


def map_classes(label: np.ndarray, table: Sequence[int] | np.ndarray) -> np.ndarray:
    """Labels under another class set: i becomes table[i - 1], and 0, unlabelled, stays 0.

    label: integers of any shape, 0 to len(table). Returns int32 of the same shape. Raises IndexError for larger ones.
    """
    return np.concatenate([[0], np.asarray(table)]).astype(np.int32)[label]
