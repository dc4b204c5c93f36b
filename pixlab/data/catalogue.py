"""What data there is."""

from __future__ import annotations

from pixlab.data import photo_sets, pose_sets, rgbd_sets

CATALOGUE = (*rgbd_sets.ENTRIES, *pose_sets.ENTRIES, *photo_sets.ENTRIES)
