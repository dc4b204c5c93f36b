"""python -m pixlab predict: photos in, files out; and how commands write files."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import filecmp
import io
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import tyro

from pixlab.errors import UserError

RUN = Annotated[
    tyro.conf.Positional[pathlib.Path],
    tyro.conf.arg(help="Run folder, or the name of shipped weights."),
]


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict on photos of any size and mode with a trained run, or with shipped weights.

    The shipped ones are listed by python -m pixlab weights. A photo that cannot be read is reported, the others are
    predicted, and the exit status is 2. Results of an earlier call are replaced, but never another file in a folder
    that the photos are in.
    """

    run: RUN
    images: tyro.conf.Positional[tuple[pathlib.Path, ...]]
    """Photos, one or more."""
    out: pathlib.Path = pathlib.Path("predictions")
    """Folder that the results go to."""

    def __call__(self) -> None:
        from pixlab import mesh
        from pixlab.data.images import read_image
        from pixlab.run import Run

        if not self.images:
            raise UserError("no photos are given")
        mesh.setup()
        run = Run.open(self.run)
        note(run.unfinished)
        read: collections.deque[str] = collections.deque()  # names of photos whose results have not come yet
        unreadable = []

        def photos() -> Iterator[Any]:
            for name, path in zip(distinct_names(self.images), self.images, strict=True):
                try:
                    photo = read_image(path)
                except UserError as error:  # the others are predicted all the same
                    print(f"error: {error}", file=sys.stderr)
                    unreadable.append(path)
                else:
                    read.append(name)
                    yield photo

        theirs = {path.resolve().parent for path in self.images}
        for _, files in run.predict(photos(), maps=False, progress=True):
            name = read.popleft()
            for suffix, content in files.items():
                path = self.out / f"{name}_{suffix}.{'json' if isinstance(content, dict) else 'png'}"
                write(path, lambda file, content=content: _encode(file, content), keep=self.out.resolve() in theirs)
                print(path)
        if unreadable:
            raise SystemExit(2)


def _encode(file: io.BufferedIOBase, content: Any) -> None:
    """Write what an experiment's `export` gave: a JSON object, or a picture as PNG."""
    from pixlab.data.images import save_png

    if isinstance(content, dict):
        file.write((json.dumps(content, indent=1) + "\n").encode())
    else:
        save_png(file, content, level=4)  # of large pictures in less than half the time of level 6, with 2 % more bytes


def distinct_names(paths: tuple[pathlib.Path, ...]) -> list[str]:
    """The stems of the paths, numbered where two are equal, upper and lower case alike as on some disks."""
    names: list[str] = []
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    for path in paths:
        name, stem = path.stem, path.stem.casefold()
        while name.casefold() in taken:
            numbers[stem] = numbers.get(stem, 1) + 1
            name = f"{path.stem}-{numbers[stem]}"
        taken.add(name.casefold())
        names.append(name)
    return names


def note(text: str) -> None:
    """Say on standard error what whoever uses a run should know; nothing of ""."""
    if text:
        print(f"note: {text}", file=sys.stderr)


def write(path: pathlib.Path, put: Callable[[io.BufferedIOBase], Any], *, keep: bool) -> None:
    """Write a file, which `put` fills, whole or not at all.

    Raises UserError where that fails or, with `keep`, where another one is.
    """
    if path.parent.is_file():
        raise UserError(f"{path.parent}: is a file; give another folder with --out")
    partial = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            put(file)
        if not (keep and path.exists()):
            os.replace(partial, path)
        elif not filecmp.cmp(partial, path, shallow=False):
            raise UserError(f"{path}: is there already, beside the photos; give another folder with --out")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); give another folder with --out"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
