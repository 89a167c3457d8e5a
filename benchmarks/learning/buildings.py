"""Boxes of buildings for object detection, from the colour-coded masks of the Dubai images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

BUILDING = (0x3C, 0x10, 0x98)  # read off the masks
SMALLEST = 60  # px of area; less is a seam between the annotators' polygons


def write_coco(root: Path, out: Path, tiles: tuple[str, ...] = ("*",)) -> Path:
    """Write COCO JSON with a box around each connected patch of building in the masks below ``root``."""
    images, annotations = [], []
    masks = sorted(mask for tile in tiles for mask in root.glob(f"{tile}/masks/*.png"))
    for number, mask in enumerate(masks):
        pixels = np.array(Image.open(mask).convert("RGB"))
        name = (mask.parents[1] / "images" / mask.name).with_suffix(".jpg").relative_to(root)
        height, width = pixels.shape[:2]
        images.append({"id": number, "file_name": str(name), "height": height, "width": width})
        patches, _ = ndimage.label((pixels == BUILDING).all(axis=2))
        sizes = np.bincount(patches.ravel())
        for patch, (rows, columns) in enumerate(ndimage.find_objects(patches), start=1):
            if sizes[patch] < SMALLEST:
                continue
            box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
            annotations.append({"id": len(annotations), "image_id": number, "category_id": 1, "bbox": box})
    categories = [{"id": 1, "name": "building"}]
    out.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return out
