"""Whether a face still looks like the same person: the distance of dlib's face embeddings. An extra: photomend[identity].

The network is dlib's ResNet, 128 numbers for a face (King 2017, blog.dlib.net: "High Quality Face Recognition with Deep Metric
Learning"); its author holds two faces nearer than 0.6 to be of one person. Weights: the package face_recognition_models, CC0.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_tools.errors import MissingDependency

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB

OTHER_PERSON = 0.6  # distance from which on two faces count as two people
CHIP, PADDING = 150, 0.25  # pixels a side of what the network sees, and how much is around the face: as it was trained


class Identity:
    """A judge: how far faces are from that of the original, all cut out by where the original shows it.

    `seen` keeps what it saw: for each of the images that show a face the embeddings, (128,), "original" among them.

    Raises:
        MissingDependency: dlib or its models are not installed.
    """

    name = "identity"
    title = f"identity distance (below {OTHER_PERSON} dlib takes two faces for one person)"

    def __init__(self) -> None:
        models = importlib.util.find_spec("face_recognition_models")  # importing it needs an old setuptools
        try:
            import dlib
        except ImportError:
            dlib = None
        if dlib is None or models is None or not models.submodule_search_locations:
            raise MissingDependency(
                "the identity distance needs dlib: pip install 'photomend[identity]', or leave --identity away"
            )
        folder = Path(models.submodule_search_locations[0]) / "models"
        self.seen: list[dict[str, NDArray[np.float64]]] = []
        self._dlib: Any = dlib
        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
        self._network = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))

    def judge(self, images: Mapping[str, Rgb]) -> dict[str, float] | None:
        """{name: Euclidean distance to the face of "original"} of the others, all of one size; None where it shows no face."""
        place = self._place(images["original"])
        if place is None:
            return None
        seen = {name: self._embedded(rgb, place) for name, rgb in images.items()}
        self.seen.append(seen)
        return {name: float(np.linalg.norm(each - seen["original"])) for name, each in seen.items() if name != "original"}

    def close(self) -> None:
        """Nothing to be given back."""

    def _place(self, rgb: Rgb) -> Any:
        found = self._detector(np.ascontiguousarray(rgb), 1)
        return self._landmarks(np.ascontiguousarray(rgb), max(found, key=lambda box: box.area())) if found else None

    def _embedded(self, rgb: Rgb, place: Any) -> NDArray[np.float64]:
        chip = self._dlib.get_face_chip(np.ascontiguousarray(rgb), place, CHIP, PADDING)
        return np.array(self._network.compute_face_descriptor(chip))


def near_others(seen: Sequence[Mapping[str, NDArray[np.float64]]], groups: Sequence[Hashable]) -> tuple[int, dict[str, float]]:
    """How often a face passes for somebody else's: what its distance to its own original must be held against.

    Args:
        seen: as in `Identity`.
        groups: whose they are; who is of one group may be one person.

    Returns:
        How many pairs there are, of a face and the original of another group; and {name: the share of them that are nearer than
        OTHER_PERSON}, "original" among the names. No share where there is no pair.
    """
    others = [np.array([group != each for each in groups]) for group in groups]
    pairs = int(sum(each.sum() for each in others))
    if not pairs:
        return 0, {}
    originals = np.stack([each["original"] for each in seen])
    near = dict.fromkeys((name for name in seen[0] if all(name in each for each in seen)), 0)
    for faces, other in zip(seen, others, strict=True):
        for name in near:
            near[name] += int((np.linalg.norm(originals[other] - faces[name], axis=1) < OTHER_PERSON).sum())
    return pairs, {name: count / pairs for name, count in near.items()}
