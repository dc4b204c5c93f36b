"""The files of folders, zip and tar archives, all read in one way."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pixlab.errors import UserError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
UNPACKED = ".unpacked-"  # what folders of unpacked archives are called while they are read
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")  # how gzip, bzip2 and xz begin


class Files:
    """Files by name, with /, wherever they lie."""

    def __init__(self, place: Path):
        self.place = place  # what messages name
        self._read: dict[str, Callable[[], bytes]] = {}

    @property
    def names(self) -> list[str]:
        """The names of all files."""
        return list(self._read)

    def add(self, names: Iterable[str], read: Callable[[str], bytes]) -> None:
        """Further files, which `read` gives by name."""
        self._read |= {name: lambda name=name: read(name) for name in names}

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises UserError where it is not there or damaged."""
        if name not in self._read:
            raise UserError(f"{self.place}: has no {name}; fetch all of it")
        with mended(self.place):
            return self._read[name]()

    def lines(self, name: str) -> list[str]:
        """The lines of a text, without empty ones. Raises UserError as `read` does."""
        return [line.strip() for line in self.read(name).decode(errors="replace").splitlines() if line.strip()]

    def root(self, folder: str) -> str | None:
        """What precedes `folder`, which ends in /, in the name of a file in it; None where no file is."""
        for name in self._read:
            before, found, _ = f"/{name}".partition(f"/{folder}")
            if found:
                return f"{before}/".removeprefix("/")
        return None

    def within(self, folder: str) -> list[str]:
        """The names of the files right in a folder, which ends in /, without those that are hidden, sorted."""
        inside = (name for name in self._read if name.startswith(folder) and "/" not in name[len(folder) :])
        return sorted(name for name in inside if not name[len(folder) :].startswith("."))


@contextlib.contextmanager
def opened(*places: Path, nested: bool = False) -> Iterator[Files]:
    """The files of folders and of archives; `nested`: of the archives that lie in the folders as well.

    Archives that are compressed as a whole are unpacked to a temporary folder beside them. Raises UserError where one
    is damaged.
    """
    files = Files(places[0])
    with contextlib.ExitStack() as stack:
        for place in places:
            if place.is_dir():
                loose = [path for path in sorted(place.rglob("*")) if path.is_file() and not _left(path, place)]
                inner = [path for path in loose if nested and path.parent == place and path.name.endswith(ARCHIVES)]
                names = [path.relative_to(place).as_posix() for path in loose if path not in inner]
                files.add(names, lambda name, place=place: (place / name).read_bytes())
            for archive in inner if place.is_dir() else [place]:
                with mended(archive):
                    _open(archive, files, stack)
        yield files


def _left(path: Path, place: Path) -> bool:
    """Whether a file is of an archive that was being unpacked in `place` when the process was killed."""
    return path.relative_to(place).parts[0].startswith(UNPACKED)


def _open(path: Path, files: Files, stack: contextlib.ExitStack) -> None:
    if zipfile.is_zipfile(path):
        archive = stack.enter_context(zipfile.ZipFile(path))
        files.add((name for name in archive.namelist() if not name.endswith("/")), archive.read)
        return
    with path.open("rb") as file:
        compressed = file.read(6).startswith(COMPRESSED)
    if compressed:  # as a whole: reading here and there would decompress it anew each time
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent, prefix=UNPACKED)))
        with tarfile.open(path) as packed:
            packed.extractall(folder, filter="data")
        names = [at.relative_to(folder).as_posix() for at in sorted(folder.rglob("*")) if at.is_file()]
        files.add(names, lambda name: (folder / name).read_bytes())
        return
    archive = stack.enter_context(tarfile.TarFile(path))
    members = {member.name.removeprefix("./"): member for member in archive.getmembers() if member.isfile()}
    files.add(members, lambda name: archive.extractfile(members[name]).read())


@contextlib.contextmanager
def mended(place: Path) -> Iterator[None]:
    """What goes wrong in reading an archive as UserError, with what to do about it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors raise many kinds
        reason = (str(error).splitlines() or [repr(error)])[0][:150]
        raise UserError(f"{place}: not a whole zip or tar archive ({reason}); delete it and fetch it again") from error
