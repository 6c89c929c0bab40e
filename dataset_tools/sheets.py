"""Contact sheets: rows of images with titles above, figures below, drawn so that a person can judge them at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dataset_tools.lettering import font, line_height, short, wrap

Rgb = NDArray[np.uint8]

PAPER, INK, FAINT, FRAME = (250, 249, 246), (34, 36, 40), (104, 108, 114), (226, 224, 218)
MARGIN, GUTTER = 28, 14  # pixels
HEADER, TITLE, CAPTION = 19, 15, 13  # sizes of the letters
MIN_CELL, MAX_CELL = 192, 256  # what a cell measures unless told


def grid(
    rows: Sequence[Sequence[Rgb | None]],
    *,
    titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] | None = None,
    header: str = "",
    footer: str = "",
    cell: int | None = None,
) -> Rgb:
    """A contact sheet, uint8 (height, width, 3) sRGB.

    Args:
        rows: rows of uint8 (H, W, 3) images; None leaves a cell empty. Every image is fitted into one square cell, aspect kept.
        titles: one above each column.
        captions: captions[row][column] stands under that image; rows and columns may be missing.
        header, footer: lines above and below everything, broken at "\\n" and where the sheet ends.
        cell: side of a cell in pixels. Default: the largest side of all images, enlarged by a whole factor to at least 192
            and reduced to 256 at most.

    Raises:
        ValueError: there is no image at all.
    """
    images = [image for row in rows for image in row if image is not None]
    if not images:
        raise ValueError("a sheet needs at least one image")
    side = cell or _cell_side(max(max(image.shape[:2]) for image in images))
    columns = max(len(titles), *(len(row) for row in rows))
    width = 2 * MARGIN + columns * side + (columns - 1) * GUTTER
    head, foot = wrap(header, HEADER, width - 2 * MARGIN), wrap(footer, CAPTION, width - 2 * MARGIN)
    caption_height = line_height(CAPTION) if captions else 0
    title_top = MARGIN + (len(head) * line_height(HEADER) + GUTTER if head else 0)
    top = title_top + (line_height(TITLE) + 4 if titles else 0)
    step = side + caption_height + GUTTER
    bottom = top + len(rows) * step
    height = bottom + (len(foot) * line_height(CAPTION) + GUTTER if foot else 0) + MARGIN - GUTTER

    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write_lines(pen, head, MARGIN, HEADER, INK)
    for column, title in enumerate(titles):
        pen.text((_left(column, side), title_top), short(title, TITLE, side), INK, font(TITLE))
    for index, row in enumerate(rows):
        y = top + index * step
        for column, image in enumerate(row):
            _draw_cell(sheet, pen, image, _left(column, side), y, side)
        for column, text in enumerate(captions[index] if captions and index < len(captions) else ()):
            pen.text((_left(column, side), y + side + 4), short(text, CAPTION, side), FAINT, font(CAPTION))
    _write_lines(pen, foot, bottom + GUTTER // 2, CAPTION, FAINT)
    return np.array(sheet)  # (height, width, 3) uint8


def fit(rgb: Rgb, side: int) -> Rgb:
    """`rgb`, uint8 (H, W, 3), resized so that its longer side is `side`, aspect kept.

    Enlarged by a whole factor, an image of flat cells (a mosaic, a drawing) keeps its hard edges (nearest); everything else
    is resized by area downwards and by bicubic interpolation upwards.
    """
    height, width = rgb.shape[:2]
    longer = max(height, width)
    if longer == side:
        return rgb
    size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
    upwards = cv2.INTER_NEAREST if side % longer == 0 and _is_flat(rgb) else cv2.INTER_CUBIC
    method = cv2.INTER_AREA if side < longer else upwards
    resized: Rgb = cv2.resize(rgb, size, interpolation=method)
    return resized


def outlined(rgb: Rgb, corners: NDArray[np.float64], colour: tuple[int, int, int], width: int = 2) -> Rgb:
    """A copy of `rgb`, uint8 (H, W, 3), with a polygon drawn on it: corners (n, 2) as x, y in pixels, pixel centres at integers.

    A darker line beneath keeps it visible on any ground. Corners may lie outside; a polygon that is far away is not drawn.
    """
    drawn = rgb.copy()
    limit = 16 * max(rgb.shape[:2])
    if not np.isfinite(corners).all() or np.abs(corners).max() > limit:
        return drawn
    points = np.round(corners * 8).astype(np.int32)  # eighths of a pixel
    for thickness, ink in ((width + 2, (20, 20, 20)), (width, colour)):
        cv2.polylines(drawn, [points], True, ink, thickness, cv2.LINE_AA, shift=3)
    return drawn


def _is_flat(rgb: Rgb) -> bool:
    """Most pixels equal their right neighbour, as they do in the cells of a mosaic."""
    return rgb.shape[1] > 1 and float((rgb[:, 1:] == rgb[:, :-1]).all(axis=2).mean()) > 0.6


def _cell_side(largest: int) -> int:
    return min(MAX_CELL, largest * -(-MIN_CELL // largest))


def _left(column: int, side: int) -> int:
    return MARGIN + column * (side + GUTTER)


def _draw_cell(sheet: Image.Image, pen: ImageDraw.ImageDraw, image: Rgb | None, x: int, y: int, side: int) -> None:
    if image is None:
        pen.rectangle((x, y, x + side - 1, y + side - 1), outline=FRAME)
        return
    fitted = fit(image, side)
    left, top = x + (side - fitted.shape[1]) // 2, y + (side - fitted.shape[0]) // 2
    sheet.paste(Image.fromarray(np.ascontiguousarray(fitted)), (left, top))


def _write_lines(pen: ImageDraw.ImageDraw, lines: Sequence[str], y: int, size: int, colour: tuple[int, int, int]) -> None:
    for index, line in enumerate(lines):
        pen.text((MARGIN, y + index * line_height(size)), line, colour, font(size))
