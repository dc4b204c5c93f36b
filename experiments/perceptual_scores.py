"""How natural a run's super-resolved photos look, as the PIRM challenge measures it.

    python -m experiments.perceptual_scores runs/srgan_div2k-vgg54 --prior modelparameters.mat --test bsd100
    python -m experiments.perceptual_scores runs/srgan_div2k-quick --pristine photos:PATH

NIQE needs to know what natural photos are like: the release's parameters (`--prior`, a .mat file of Mittal et al., or
an .npz of ours), or photos to learn it from (`--pristine`). Scores of different priors cannot be compared. Half of the
perceptual index is Ma's score, which MATLAB code alone computes: given as `--ma`, the index is printed. LPIPS is scored
where its two files of weights are given.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import tyro

from pixlab import mesh
from pixlab.data.photos import open_photos
from pixlab.data.pipeline import Split, eval_batches
from pixlab.errors import NoSplit, UserError
from pixlab.evaluate import Evaluator
from pixlab.metrics.lpips import lpips_metric
from pixlab.metrics.niqe import Prior, fit, niqe
from pixlab.metrics.pirm import perceptual_index, pirm_rmse, region, scored
from pixlab.models.alexnet import AlexNet
from pixlab.pretrained.files import read_weights
from pixlab.pretrained.lpips import lpips as lpips_weights
from pixlab.run import Run
from pixlab.superres_task import SuperresOptions


@dataclasses.dataclass(frozen=True)
class Command:
    """NIQE, the challenge's RMSE and region, and LPIPS of a run of super-resolution of colours."""

    run: tyro.conf.Positional[str]
    """Run folder."""
    test: str = ""
    """Photos to score, as --source takes them; empty: the run's own."""
    prior: str = ""
    """What natural photos are like: a .mat or .npz file."""
    pristine: str = ""
    """Photos to learn that from, such as photos:PATH."""
    ma: float | None = None
    """The mean of Ma's scores of the same pictures, for the perceptual index."""
    alexnet: str = ""
    """torchvision's AlexNet weights, for LPIPS."""
    lpips: str = ""
    """The LPIPS release's linear weights v0.1/alex, for LPIPS."""


def scores(command: Command) -> dict[str, float | str]:
    """What is printed, by name. Raises UserError for a run of something else, and without a prior."""
    run = Run.open(command.run)
    if not isinstance(run.config, SuperresOptions) or any(name.startswith("luminance") for name in run.recipe.metrics):
        makers = "sr_div2k, srgan_div2k or perceptual_sr"
        raise UserError(f"{command.run}: give a run of super-resolution of colours, by {makers}")
    if bool(command.prior) == bool(command.pristine):
        raise UserError("give either --prior FILE or --pristine photos:PATH")
    if bool(command.alexnet) != bool(command.lpips):
        raise UserError("LPIPS needs both --alexnet FILE and --lpips FILE")
    prior = Prior.load(command.prior) if command.prior else fit(luminances(command.pristine))
    metrics = {"pirm": pirm_rmse()}
    if command.lpips:
        weights = lpips_weights(AlexNet(), read_weights(command.alexnet), read_weights(command.lpips))
        metrics["lpips"] = lpips_metric(AlexNet(), weights)
    data, natural = run.data(command.test), {"this run": [], "bicubic": [], "truth": []}
    evaluate = Evaluator(run.recipe.predict, metrics, run.mesh)
    found = evaluate(run.state, eval_batches(data, "test"))
    for batch in eval_batches(data, "test"):
        made = evaluate.predict(run.state, batch)["high"]
        for name, image in (("this run", made), ("bicubic", batch["bicubic"]), ("truth", batch["high"])):
            image = np.asarray(image[0], np.float64)
            natural[name].append(niqe(scored(image if image.shape[-1] == 3 else image.repeat(3, -1)), prior))
    out: dict[str, float | str] = {f"niqe, {name}": float(np.mean(each)) for name, each in natural.items()}
    out["rmse"] = found["pirm/rmse"]
    if run.config.scale == 4:  # the challenge's
        out["region"] = region(found["pirm/rmse"]) or "none: the RMSE is above 16"
    out |= {name: value for name, value in found.items() if name.startswith("lpips")}
    if command.ma is not None:
        out["perceptual index"] = perceptual_index(command.ma, out["niqe, this run"])
    return out


def luminances(photos: str) -> Iterator[np.ndarray]:
    """Luminance in 0..255 of photos, one by one: all of a folder, and what one trains on of a set that has that."""
    try:
        source = open_photos(photos, "all" if photos.startswith("photos:") else "train")
    except NoSplit:
        source = open_photos(photos, "test")
    split = Split(source, lambda photo: {"luminance": scored(photo["image"] / 255)})
    return (split.example(index)["luminance"] for index in range(len(source)))


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    command = tyro.cli(Command, args=args, prog="python -m experiments.perceptual_scores")
    mesh.setup()
    try:
        for name, value in scores(command).items():
            print(f"{name:20} {value if isinstance(value, str) else f'{value:.4f}'}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
