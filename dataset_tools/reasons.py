"""Why a photo or a crop is not in a dataset, in words: what each reason of a row means, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reason:
    """One word of a row's `reason`. `option` is the entry of the recipe that decides it, where there is one."""

    title: str
    meaning: str
    remedy: str
    option: str | None = None


_AGAIN = "The next build tries it again."
_ORIGINAL = "Look for another copy of the file; the program does not repair it."

REASONS: dict[str, Reason] = {
    # photos that were read and gave no pair
    "no_face": Reason(
        "no face found",
        "The detector saw no face in the photo.",
        "If there are faces: --search thorough looks closer, a lower --confidence believes more. "
        "If the archive is not about faces: --crop center or tiles.",
        "search",
    ),
    "no_crop_kept": Reason(
        "every crop rejected",
        "Something was found in the photo, and each crop of it was rejected for a reason of its own.",
        "See the reasons of the crops.",
    ),
    "duplicate": Reason(
        "duplicate",
        "The photo is a near-duplicate of another one, which is better and was kept.",
        "Without --dedupe all of them are kept, together in one split.",
        "dedupe",
    ),
    "bridges_splits": Reason(
        "would tie two splits together",
        "The photo belongs to groups that an earlier build put into different splits: keeping it would leak from one to another.",
        "--fresh builds anew and shares out the groups again.",
        "group_by",
    ),
    # crops
    "too_small": Reason(
        "too small",
        "The crop would have to be enlarged more than is allowed: it would teach blur.",
        "A larger --max-enlarge or a smaller --size keeps more of them.",
        "max_enlarge",
    ),
    "small_face": Reason(
        "small face", "The face has fewer pixels in the photo than asked for.", "A smaller --min-face keeps more.", "min_face"
    ),
    "blurred": Reason(
        "blurred",
        "The crop is less sharp than asked for (variance of its Laplacian).",
        "A smaller --min-sharpness keeps more.",
        "min_sharpness",
    ),
    "low_confidence": Reason(
        "low confidence",
        "The detector is not sure enough that this is a face.",
        "A lower --confidence keeps more, false ones among them.",
        "confidence",
    ),
    "cut_by_frame": Reason(
        "cut by the frame", "Too much of the face lies outside the photo.", "A larger --max-cut keeps more.", "max_cut"
    ),
    # photos that could not be read or finished
    "not_an_image": Reason("no image", "The name claims an image and the content is none.", "Remove or rename the file."),
    "unsupported_format": Reason(
        "unsupported format", "It is an image of a kind that is not read.", "Convert it, for example to PNG or JPEG."
    ),
    "empty": Reason("empty file", "The file has 0 bytes.", _ORIGINAL),
    "truncated": Reason("truncated", "The file ends before the image does.", _ORIGINAL),
    "corrupt": Reason("corrupt", "The bytes contradict their own format.", _ORIGINAL),
    "too_large": Reason("too large", "The image has more pixels or bytes than the program will hold.", "Make it smaller."),
    "unreadable": Reason(
        "unreadable", "The file could not be opened: no permission, vanished, a dangling link, or an error of the disk.", _AGAIN
    ),
    "time_limit": Reason("time limit", "The photo took longer than one photo may.", f"{_AGAIN} --time-limit allows it more."),
    "worker_died": Reason("worker died", "The process that worked on the photo died twice.", f"{_AGAIN} Is there enough memory?"),
    "internal_error": Reason("internal error", "The program failed on this photo.", "Please report it, with its detail."),
    # given pairs
    "no_partner": Reason("no partner", "The other folder has no image of this name.", "Add it, or rename one of the two."),
    "ambiguous": Reason("ambiguous", "Several images have this name, with different suffixes.", "Keep one of them."),
    "partner_failed": Reason("partner failed", "The other image of the pair could not be read.", "See the failed photos."),
    "sizes_differ": Reason("sizes differ", "The two images have different sizes.", "--resize brings both to one size.", "resize"),
    "wrong_size": Reason("wrong size", "The images do not have the dataset's size.", "--resize, or another --size.", "size"),
}  # fmt: skip


def describe(word: str) -> Reason:
    """The entry of `word`; for one that is not known here, an entry that says so."""
    return REASONS.get(word) or Reason(word.replace("_", " "), "This reason has no description.", "See manifest.jsonl.")


def limit(reason: Reason, recipe: Mapping[str, Any]) -> str:
    """What the recipe says about it, as in "--max-enlarge is 1.25"; "" where it says nothing."""
    if reason.option is None or reason.option not in recipe:
        return ""
    value = recipe[reason.option]
    if value is None or value is False:
        value = "off"
    return f"{flag(reason.option)} is {'on' if value is True else value}"


def flag(option: str) -> str:
    """The command line's name of an entry of the recipe."""
    return "--" + option.replace("_", "-")
