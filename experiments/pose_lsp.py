"""Human pose on Leeds Sports Pose: whole bodies, by the part detector and spatial model of Tompson et al., NIPS 2014.

    python -m experiments.pose_lsp                                     minutes on a laptop, on procedural people
    python -m experiments.pose_lsp joint --source pose_folder:PATH     the paper's, on pictures with LSP's 14 joints

The system is that of experiments/pose_flic.py; the joints are LSP's, sides are the person's own, and pictures are
turned in training, as sportsmen are upside down at times. A folder holds pictures and joints.json (PoseFolder in
pixlab/data/people.py). Scores beside the paper's detection rates: PCKh@0.5 by the length from the neck to the top of
the head (MPII, which coined it, has head boxes instead).
"""

from __future__ import annotations

import dataclasses

from experiments import pose_flic
from experiments.pose_flic import PAPER, QUICK, Config, row
from pixlab.data.people import LSP

WHOLE = dict(joints=LSP, sides="person", turn=30.0, zoom=(0.8, 1.2))
SMALL = dataclasses.replace(QUICK, **WHOLE, size=(128, 128), window=(64, 64))
LARGE = dataclasses.replace(PAPER, **WHOLE, source="pose_folder:lsp", size=(240, 240))
CONFIGS: dict[str, Config] = {
    "quick": SMALL,
    "joint": LARGE,
    "detector": row(LARGE, "none"),
    "limbs": row(LARGE, "limbs"),
    "spatial": row(LARGE, "full"),
    "few": dataclasses.replace(  # a few dozen pictures, from random weights: what a machine without a GPU can train
        SMALL, source="pose_folder:lsp", detector_steps=1200, spatial_steps=200, joint_steps=400,
    ),
}  # fmt: skip
ABOUT = {name: pose_flic.ABOUT.get(name, "") for name in CONFIGS} | {
    "few": "As quick, longer, on a folder of few pictures: for machines without a GPU.",
}

experiment = dataclasses.replace(pose_flic.experiment, name="experiments.pose_lsp", configs=CONFIGS, about=ABOUT)
main = experiment.main

if __name__ == "__main__":
    main()
