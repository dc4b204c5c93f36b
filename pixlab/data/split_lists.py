"""Which split each frame of a folder belongs to, where its sub-folders do not say so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixlab.errors import UserError

LISTS = ("train", "validation", "val", "test")


def splits_of(folder: Path, names: Sequence[str]) -> list[str | None]:
    """The split of each of the frames `names`, in their order, as `train.txt`, `test.txt` ... in the folder list them.

    A list has a name a line; a frame in no list belongs to no split. Without any list the last tenth of the frames, one
    at least, is "test" and the rest "train", so that neighbouring video frames mostly stay on one side.
    Raises UserError for a list with a name that no frame has, or that another list has too.
    """
    lists = [f for f in sorted(folder.glob("*.txt")) if f.stem in LISTS]
    if not lists:
        tests = max(1, len(names) // 10) if len(names) > 1 else 0
        return ["train" if i < len(names) - tests else "test" for i in range(len(names))]
    split, known = {}, set(names)
    for file in lists:
        for name in filter(None, map(str.strip, file.read_text().splitlines())):
            if name not in known:
                raise UserError(f"{file}: lists '{name}' but {folder} has no such frame; correct the list")
            if name in split:
                raise UserError(f"{file}: lists '{name}', which {split[name]} holds already; keep it in one place")
            split[name] = file.stem
    return [split.get(name) for name in names]
