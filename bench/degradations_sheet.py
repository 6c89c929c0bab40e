"""Draws docs/degradations.png: a face that ships under every degradation.

python bench/degradations_sheet.py [--output FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dataset_tools import crops, degradations, image_io, resources, sheets
from dataset_tools.degradations import Scene
from dataset_tools.faces import MediaPipeDetector

PHOTO, SIZE, ACROSS, SEED = "female-30.jpg", 192, 6, 4
OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "degradations.png"

# Each cell: a step, a recipe after "@", or nothing. The text is the caption.
CELLS = (
    "original", "mosaic:block=12", "mosaic:block=12,space=photo", "mosaic:region=face", "mosaic:region=ellipse,feather=9",
    "mosaic:block=8,region=eyes",
    "grayscale", "sepia", "fade:tint=yellow,cast=0.8", "blur", "motion", "downscale",
    "noise", "poisson", "grain", "jpeg:quality=10", "halftone", "halftone:inks=cmyk",
    "scratches", "dust", "folds", "stains:count=3", "@old-photo", "@old-photo",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    photo = image_io.read(resources.path("samples") / PHOTO).rgb8
    with MediaPipeDetector() as detector:
        face = detector.detect(photo)[0]
    box, eyes = tuple(map(float, face.box)), tuple((float(x), float(y)) for x, y in face.keypoints[:2])
    window = crops.upright_face(box, eyes, photo.shape, 0.3, "replicate")  # type: ignore[arg-type]
    whole = Scene(photo.shape[:2], box, eyes, window.side / SIZE)  # type: ignore[arg-type]
    matrix = crops.affine(window, SIZE)
    turned = crops.transform(matrix, np.array(eyes)).tolist()
    scene = Scene((SIZE, SIZE), crops.transform_box(matrix, box), (tuple(turned[0]), tuple(turned[1])))  # type: ignore[arg-type]

    images = []
    for number, text in enumerate(CELLS):
        texts = degradations.load_recipe(text[1:]) if text[0] == "@" else [text][: number > 0]
        parsed, rng = list(map(degradations.parse, texts)), np.random.default_rng((SEED, number))
        on_photo = [step for step in parsed if degradations.in_photo(step)]
        rgb = degradations.apply(photo, degradations.draw(on_photo, rng, whole))
        rgb = crops.crop(rgb, window, SIZE)
        images.append(degradations.apply(rgb, degradations.draw(parsed[len(on_photo) :], rng, scene)))
    rows = [images[start : start + ACROSS] for start in range(0, len(images), ACROSS)]
    captions = [
        [text.replace("@", "recipe ") for text in CELLS[start : start + ACROSS]] for start in range(0, len(images), ACROSS)
    ]
    image_io.write(output, sheets.grid(rows, captions=captions, cell=SIZE), "PNG")


if __name__ == "__main__":
    main()
