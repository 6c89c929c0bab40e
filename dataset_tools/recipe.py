"""The recipe of a dataset: every choice that decides its bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from dataset_tools import degradations
from dataset_tools.errors import UsageError
from dataset_tools.groups import parse_split
from dataset_tools.manifest import Row

CROPS = ("faces", "center", "tiles")
FORMATS = ("folder", "webdataset")
OF_CROP = {  # what does nothing with another --crop
    "faces": ("search", "align", "margin", "padding", "confidence", "min_face", "max_cut"),
    "tiles": ("tiles",),
}
MIN_SIZE, MAX_SIZE = 16, 2048
SURE = 0.5  # the score at which the face search is tuned: a stricter --confidence rejects, a looser one searches for more


@dataclass(frozen=True)
class Recipe:
    """What makes a dataset what it is: with the same photos, the same recipe gives the same bytes."""

    size: int = 256  # S: a pair is S × 2S pixels
    crop: str = "faces"  # faces | center | tiles
    tiles: int = 4  # random crops a photo, for crop="tiles"
    search: str = "fast"  # fast | thorough: how much is spent on finding faces
    align: bool = False  # turn each face upright by its eyes
    margin: float = 0.25  # of the face box's longer side, added on each side
    padding: str = "clamp"  # a crop that leaves the photo: clamp (move it inside) | replicate | reflect (make up the rest)
    confidence: float = 0.5  # least score of a face, 0 to 1; else low_confidence
    min_face: int = 0  # least longer side of a face, in pixels of the photo; else small_face
    max_cut: float = 0.25  # largest share of a face's box outside the photo; else cut_by_frame
    max_enlarge: float = 1.25  # how much a crop may be enlarged; else too_small
    min_sharpness: float = 0.0  # least variance of the Laplacian of a crop's luma; else blurred
    degrade: tuple[str, ...] = ("mosaic:block=16",)  # applied in order
    dedupe: bool = False  # of photos that are duplicates of one another keep the best
    seed: int = 0
    group_by: str | None = None  # "folder" or a regular expression on the source's name
    split: str = "80/10/10"
    format: str = "folder"  # of the pairs: folder | webdataset (tar shards)

    def __post_init__(self) -> None:
        steps = [degradations.parse(text) for text in self.degrade]
        degradations.check(steps)
        object.__setattr__(self, "degrade", tuple(map(degradations.describe, steps)))
        parse_split(self.split)
        check_size(self.size)
        for name, value, known in (("crop", self.crop, CROPS), ("format", self.format, FORMATS)):
            if value not in known:
                raise UsageError(f"--{name} {value!r}: give one of {', '.join(known)}")
        if self.crop == "faces":
            detector_record(self)

    def to_json(self) -> Row:
        return {"made_by": "build", **asdict(self), "degrade": list(self.degrade)}


def check_size(size: int) -> None:
    """Raises UsageError for a side that no pair can have."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UsageError(f"--size {size}: give {MIN_SIZE} to {MAX_SIZE} pixels")


def detector_record(recipe: Recipe) -> Row | None:
    """The face search as dataset.json names it, with the hashes of its models; None where no faces are looked for."""
    if recipe.crop != "faces":
        return None
    from dataset_tools.face_search import FaceSearch

    return FaceSearch(recipe.search, min(SURE, recipe.confidence)).describe()
