"""Folders of RGB-D frames for tests: procedural rooms, as anyone's own images would lie there."""

from PIL import Image

from pixlab.data.images import write_depth_png
from pixlab.data.rooms import frame


def write_frames(folder, seeds, size=(80, 104)):
    """Colour and depth of the rooms with these seeds, `size` rows and columns."""
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        room = frame(seed, height=size[0], width=size[1])
        Image.fromarray(room["image"]).save(folder / f"{seed}_rgb.png")
        write_depth_png(folder / f"{seed}_depth.png", room["depth"])
    return folder
