"""Published weights for the trunk of a network, by what `--init` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pixlab.errors import UserError
from pixlab.pretrained import imagenet
from pixlab.pretrained.files import read_weights

HED = "hed:"  # a Keras file of HED, whose trunk is VGG-16


def vgg16_trunk(source: str, params: Any, *, mean: Sequence[float], std: Sequence[float]) -> Any:
    """Parameters of `models.vgg.VGG16` (or `dilated_vgg.DilatedVGG16`) of normalisation `mean`, `std` from `source`.

    `source` is what `files.read_weights` takes, with torchvision's or timm's names, or hed:PATH for a Keras file of
    HED. `params` gives the shapes. Raises UserError where the file is absent or does not fit.
    """
    read = imagenet.hed if source.startswith(HED) else imagenet.vgg16
    try:
        return read(read_weights(source.removeprefix(HED)), params, mean=mean, std=std)[0]
    except UserError as error:
        raise UserError(f"--init {source}: {error}") from None
