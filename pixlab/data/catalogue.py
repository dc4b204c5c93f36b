"""What data there is."""

from __future__ import annotations

from pixlab.data import label_prepared, photo_sets, pose_sets, rgbd_sets

CATALOGUE = (*rgbd_sets.ENTRIES, *pose_sets.ENTRIES, *photo_sets.ENTRIES, *label_prepared.ENTRIES)
