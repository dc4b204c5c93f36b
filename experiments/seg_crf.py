"""Scores a finished run on labels before and after the fully connected CRF, which moves labels to the edges of colours.

Krähenbühl & Koltun, NIPS 2011 (arXiv 1210.5644), as DeepLab has it after its networks (arXiv 1606.00915, section 3.3).

    python -m experiments.seg_crf runs/seg_voc_deeplab-aspp_l
    python -m experiments.seg_crf runs/seg_voc_deeplab-resnet101 --position-sigma 67 --colour-sigma 3 --smooth-sigma 1
    python -m experiments.seg_crf runs/seg_camvid-few --out crf --images 20      pictures as well

It takes seconds a picture. The defaults are what the authors take after VGG-16, the second line what after ResNet-101.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from pixlab import mesh, seg_task
from pixlab.core import Batch
from pixlab.data.images import encode_png
from pixlab.data.pipeline import WEIGHT, Example, eval_batches
from pixlab.errors import UserError
from pixlab.evaluate import Evaluator
from pixlab.nn.dense_crf import Kernels, appearance_lattice, dense_crf
from pixlab.predict_command import note, write
from pixlab.results import aligned
from pixlab.run import Run
from pixlab.seg_task import SegOptions
from pixlab.train import predict_after


@dataclasses.dataclass(frozen=True)
class Command:
    """Score a run on labels before and after a dense CRF."""

    run: tyro.conf.Positional[pathlib.Path]
    """Run folder."""
    images: int = 0
    """Test pictures, from the first on; 0: all."""
    out: str = ""
    """Folder for pictures of truth and labels before and after; empty: none."""
    appearance: float = 4.0
    """Weight of the kernel of places and colours."""
    position_sigma: float = 49.0
    """Its deviation in pixels."""
    colour_sigma: float = 5.0
    """Its deviation in 255ths."""
    smoothness: float = 3.0
    """Weight of the kernel of places alone."""
    smooth_sigma: float = 3.0
    """Its deviation in pixels."""
    normalisation: Literal["none", "before", "after", "symmetric"] = "after"
    """What each kernel is divided by, see pixlab/nn/dense_crf.py: after it is applied, as in the authors' code."""
    iterations: int = 10
    """Of mean field."""


def refined(
    logits: np.ndarray, example: Example, kernels: Kernels, *, normalisation: str = "after", iterations: int = 10
) -> np.ndarray:
    """Logarithms of the CRF's probabilities [h, w, c] for scores [h, w, c] of an example; what lies beyond a picture
    that was put into a larger window (see `fitted_example`) keeps its scores and has no part in it."""
    height, width = example.get("seen", logits.shape[:2])
    image, inside = example["image"][:height, :width], logits[:height, :width]
    lattice, how = appearance_lattice(image, kernels), dict(normalisation=normalisation, iterations=iterations)
    found = dense_crf(jnp.asarray(inside), lattice, kernels, **how)
    out = np.array(logits)
    out[:height, :width] = np.log(np.maximum(np.asarray(found), 1e-30))
    return out


def predictions(run: Run) -> Iterator[tuple[Example, Batch]]:
    """(example, prediction) of each test picture."""
    evaluate = Evaluator(predict_after(run.recipe, int(run.state.step)), {}, run.mesh)
    for batch in eval_batches(run.data(), "test"):
        found = evaluate.predict(run.state, batch)
        for row in np.flatnonzero(batch[WEIGHT]):
            yield {k: v[row] for k, v in batch.items()}, {k: v[row] for k, v in found.items()}


def score(command: Command, run: Run) -> dict[str, dict[str, float]]:
    """{"before" and "after": {metric/score: value}} over the run's test pictures; writes pictures where asked."""
    kernels = Kernels(
        command.appearance, command.position_sigma, command.colour_sigma, command.smoothness, command.smooth_sigma
    )
    how = dict(normalisation=command.normalisation, iterations=command.iterations)
    metrics, totals = seg_task.metrics(run.config), {}
    stats = jax.jit(lambda prediction, example: {name: m.stats(prediction, example) for name, m in metrics.items()})
    for number, (example, before) in enumerate(itertools.islice(predictions(run), command.images or None)):
        after = before | {"logits": refined(before["logits"], example, kernels, **how)}
        for name, prediction in (("before", before), ("after", after)):
            one = jax.tree.map(lambda x: np.asarray(x, np.float64), stats(prediction, example))
            total = totals.get(name)
            totals[name] = one if total is None else {k: metrics[k].merge(total[k], one[k]) for k in metrics}
            if command.out:
                picture = encode_png(seg_task.render(run.config, example, prediction)["label"])
                path = pathlib.Path(command.out) / f"{number}_{name}.png"
                write(path, lambda file, picture=picture: file.write(picture), keep=False)
    return {
        name: {f"{k}/{key}": value for k in metrics for key, value in metrics[k].result(total[k]).items()}
        for name, total in totals.items()
    }


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    command = tyro.cli(Command, args=args, prog="python -m experiments.seg_crf")
    try:
        mesh.setup()
        run = Run.open(command.run)
        if not isinstance(run.config, SegOptions):
            raise UserError(f"{command.run}: a run of {run.experiment.name}, not on labels; give one of seg_...")
        if command.images < 0 or command.iterations < 1:
            raise UserError("--images must be at least 0 (for all) and --iterations at least 1")
        note(run.unfinished)
        scores = score(command, run)
        names = list(scores["before"])
        print("\n".join(aligned([["", *scores], *([n, *(f"{row[n]:.4f}" for row in scores.values())] for n in names)])))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
