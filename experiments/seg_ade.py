"""Semantic labels of photos of all kinds, on ADE20K's scene parsing benchmark with its 150 classes.

The system of experiments/seg_voc_refinenet.py: RefineNet, Lin, Milan, Shen & Reid, CVPR 2017 (arXiv 1611.06612).

    python -m experiments.seg_ade                          minutes on a laptop, on procedural rooms
    python -m experiments.seg_ade resnet50                 (python -m pixlab data prepare scene_parse150)

Rates are those of the release for VOC, steps are ours. Pictures are scored within 768x1024, black beyond them: larger
ones are made smaller first and scored at that size, which is not the benchmark's protocol.
"""

from __future__ import annotations

import dataclasses

from experiments import seg_voc_refinenet

ADE = dataclasses.replace(
    seg_voc_refinenet.CONFIGS["resnet50"], source="scene_parse150", size=(768, 1024), batch=4, drops=(150_000, 200_000),
    steps=250_000,
)  # fmt: skip
CONFIGS = {
    "quick": seg_voc_refinenet.CONFIGS["quick"],
    "resnet50": ADE,
    "resnet101": dataclasses.replace(ADE, net="resnet101", weights="timm/resnet101.tv_in1k"),
    "resnet152": dataclasses.replace(ADE, net="resnet152", weights="timm/resnet152.tv_in1k"),
}
ABOUT = {
    "quick": seg_voc_refinenet.ABOUT["quick"],
    "resnet50": "RefineNet on ResNet-50.",
    "resnet101": "RefineNet on ResNet-101.",
    "resnet152": "RefineNet on ResNet-152, the paper's largest.",
}

experiment = dataclasses.replace(
    seg_voc_refinenet.experiment, name="experiments.seg_ade", configs=CONFIGS, paper="resnet152", about=ABOUT
)
main = experiment.main

if __name__ == "__main__":
    main()
