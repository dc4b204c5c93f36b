"""Surface normals from one image on NYU Depth v2.

Eigen & Fergus, ICCV 2015 (arXiv 1411.4734), section 4.2: the system of experiments/depth_nyu.py seen from its normals.
The paper trains normals and depth together, with a shared scale 1: that is `alexnet` and `vgg16`; `alone` leaves depth
out. The truth is planes fitted to depth (Silberman et al. 2012), the second block of the paper's table 2.

    python -m experiments.normals_nyu               minutes on a laptop, on procedural rooms, normals alone
    python -m experiments.normals_nyu alexnet       the paper's, on NYU Depth v2 (python -m pixlab data list)
"""

from __future__ import annotations

import dataclasses

from experiments import depth_nyu

NORMALS = ("normal",)
CONFIGS = {
    "quick": dataclasses.replace(depth_nyu.CONFIGS["quick"], tasks=NORMALS),
    "alexnet": depth_nyu.CONFIGS["alexnet"],
    "vgg16": depth_nyu.CONFIGS["vgg16"],
    "alone": dataclasses.replace(depth_nyu.CONFIGS["alexnet"], tasks=NORMALS),
    "scale1": dataclasses.replace(depth_nyu.CONFIGS["scale1"], tasks=NORMALS),
    "scale2": dataclasses.replace(depth_nyu.CONFIGS["scale2"], tasks=NORMALS),
    "scales12": dataclasses.replace(depth_nyu.CONFIGS["scales12"], tasks=NORMALS),
}

ABOUT = {name: depth_nyu.ABOUT.get(name, "") for name in CONFIGS} | {
    "quick": "Minutes on a laptop: normals alone, a quarter of the width, on procedural rooms.",
    "alone": "Normals alone, with AlexNet as scale 1.",
}

experiment = dataclasses.replace(depth_nyu.experiment, name="experiments.normals_nyu", configs=CONFIGS, about=ABOUT)
main = experiment.main

if __name__ == "__main__":
    main()
