"""Where data is kept, what is said of each data set, and how one is prepared and opened."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from pixlab.data.pipeline import Source
from pixlab.errors import NoSplit, UserError


def data_dir() -> pathlib.Path:
    """Where prepared data is kept: TFDS_DATA_DIR, default ~/tensorflow_datasets."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def by_hand_dir(name: str) -> pathlib.Path:
    """Where files go that are downloaded by hand (TFDS's own convention)."""
    return data_dir() / "downloads" / "manual" / name


class Entry(NamedTuple):
    """One data set."""

    name: str
    what: str
    origin: str
    licence: str
    size: str
    by_hand: Callable[[], str]
    prepared: Callable[[], bool] | None  # None: there is nothing to prepare
    prepare: Callable[[], str]  # returns what to say at the end

    def state(self) -> str:
        """Whether it is prepared, and if not, by which command."""
        if self.prepared is None:
            return f"needs no preparation; --source {self.name}:PATH"
        return "prepared" if self.prepared() else f"not prepared; python -m pixlab data prepare {self.name}"


def prepare(name: str, how: Callable[[], str]) -> str:
    """What `how` says in the end. Raises UserError where the data cannot be fetched, read or written."""
    try:
        return how()
    except UserError:
        raise
    except Exception as error:  # of TFDS, of the network, of the file system
        lines = str(error).splitlines() or [repr(error)]
        reason = next((line for line in lines if "No space left" in line), lines[0])[:150]
        raise UserError(f"{name} cannot be prepared in {data_dir()} ({reason}); mend that and try again") from error


def open_prepared(name: str, read: Callable[[], Source], folder: pathlib.Path | None = None) -> Source:
    """What `read` opens, with the remedy that error messages name where the prepared files, in `folder`, are damaged.

    Without `folder` they are in that of the name.
    """
    folder = folder or data_dir() / name.partition(":")[0]
    remedy = f"delete {folder} and run: python -m pixlab data prepare {name}"
    try:
        source = read()
    except UserError:
        raise
    except Exception as error:  # whatever TFDS raises for damaged files
        reason = (str(error).splitlines() or [repr(error)])[0][:150]
        raise UserError(f"{name} cannot be opened ({reason}); {remedy}") from error
    source.remedy = remedy
    return source


def open_records(folder: pathlib.Path, part: str) -> tuple[Source, list[str]]:
    """The records of a part, or parts joined by +, that TFDS prepared as array_record, and which fields are images.

    Images are left encoded: TFDS would decode them by OpenCV where it is, whose pixels differ a little.
    Raises NoSplit for a part that was not prepared, and UserError for other formats, which take TensorFlow.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        found = builder.info.file_format.value
        raise UserError(f"{folder}: prepared as {found}, which needs TensorFlow; prepare it as array_record")
    if missing := [name for name in part.split("+") if name not in builder.info.splits]:
        raise NoSplit(f"{folder}: has no {missing[0]} part; it has {', '.join(builder.info.splits)}")
    images = [name for name, feature in builder.info.features.items() if isinstance(feature, tfds.features.Image)]
    return builder.as_data_source(part, decoders={name: tfds.decode.SkipDecoding() for name in images}), images


def need(name: str, ready: bool) -> None:
    """Raises UserError with the command that prepares `name` where it is not `ready`."""
    if not ready:
        raise UserError(f"{name} is not prepared in {data_dir()}; run: python -m pixlab data prepare {name}")


def folder_entry(name: str, what: str, by_hand: str, origin: str = "you", licence: str = "yours") -> Entry:
    """What is said of a source that is a folder somewhere, named as `--source NAME:PATH`."""
    said = f"{name} needs no preparation: give --source {name}:PATH"
    return Entry(name, what, origin, licence, "any", lambda: by_hand, None, lambda: said)
