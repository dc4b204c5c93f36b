"""How the PIRM challenge 2018 ranks super-resolution by 4: how natural it looks, among those of like error.

Blau, Mechrez, Timofte, Michaeli & Zelnik-Manor, "The 2018 PIRM Challenge on Perceptual Image Super-Resolution",
ECCV Workshops 2018 (arXiv 1809.07517), and its evaluation code.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pixlab.core import Batch, Metric, Tree
from pixlab.metrics.fidelity import comparable, mean_squared_error

SHAVE = 4  # pixels each side
REGIONS = {"R1": 11.5, "R2": 12.5, "R3": 16.0}  # largest RMSE


def pirm_rmse() -> Metric:
    """ "rmse" in grey levels of prediction["high"] against example["high"], RGB [h, w, 3] in [0, 1].

    The root of the mean over images of each one's mean squared error (not the mean of roots), of luminance that is
    rounded to 8 bits as the picture was before, without 4 pixels each side. Raises UserError as `comparable` does.
    """

    def stats(prediction: Batch, example: Batch) -> Tree:
        pair = comparable(prediction["high"], example["high"], SHAVE, channel="luminance", eight_bits=True)
        return {"square": mean_squared_error(*pair), "images": jnp.ones(())}

    return Metric(stats, lambda total: {"rmse": float(np.sqrt(total["square"] / total["images"]))})


def scored(image: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h2 w2"]:
    """What PIRM scores by NIQE and Ma of an RGB picture in [0, 1]: its luminance in 0..255 as `pirm_rmse` has it."""
    return comparable(image, image, SHAVE, channel="luminance", eight_bits=True)[0][..., 0]


def region(rmse: float) -> str | None:
    """The region "R1", "R2" or "R3" that competes with this RMSE; None beyond 16."""
    return next((name for name, most in REGIONS.items() if rmse <= most), None)


def perceptual_index(ma: float, niqe: float) -> float:
    """((10 - Ma) + NIQE) / 2 of the means over images of both scores; lower looks better.

    Ma's score (Ma, Yang, Yang & Yang, CVIU 2017; also NRQM) is random forests in MATLAB and is not computed here: take
    it from that program, run on the same pictures. NIQE is `metrics.niqe.niqe` of `scored`, with the release's prior.
    """
    return 0.5 * ((10 - ma) + niqe)
