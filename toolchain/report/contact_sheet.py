"""Images in rows and columns on one sheet, with titles above and names of colors below, as PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

PAPER: Color = (255, 255, 255)
INK: Color = (40, 40, 45)
GAP = 8
TEXT_SIZE = 15
LINE = 24
SWATCH = 14
LEAST_TILE = 192
MOST_TILE = 360


def factor(image: Image.Image) -> float:
    """Return by how much a tile is larger than its image: a whole number for a small one."""
    longer = max(image.size)
    if longer > MOST_TILE:
        return MOST_TILE / longer
    return float(max(1, min(math.ceil(LEAST_TILE / longer), MOST_TILE // longer)))


def tile(image: Image.Image) -> Image.Image:
    """Return an image at the size of a tile; the pixels of a small one stay squares."""
    scale = factor(image)
    size = (max(1, round(scale * image.width)), max(1, round(scale * image.height)))
    smooth = Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.NEAREST
    return image.resize(size, smooth)


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]],
    titles: Sequence[str],
    legend: Mapping[str, Color],
) -> bytes:
    """Draw a sheet.

    Args:
        rows: Tiles, each row with the same number of them; they may differ in size.
        titles: One above each column; empty for none.
        legend: Colors by what they stand for, in the order of drawing; may be empty.

    Returns:
        A PNG file.

    Raises:
        ValueError: There is no tile, or rows or titles differ in number from the columns.
    """
    if not rows or not rows[0]:
        raise ValueError("a contact sheet needs an image")
    columns = len(rows[0])
    if any(len(row) != columns for row in rows) or (titles and len(titles) != columns):
        raise ValueError(
            f"rows of {sorted({len(row) for row in rows})} images and {len(titles)} titles do "
            "not fit together"
        )
    font = ImageFont.load_default(TEXT_SIZE)
    tile_width = max(image.width for row in rows for image in row)
    width = GAP + columns * (tile_width + GAP)
    legend_lines = _legend_lines(legend, width, font)
    top = GAP + (LINE if titles else 0)
    bottom = top + sum(max(image.height for image in row) + GAP for row in rows)
    sheet = Image.new("RGB", (width, bottom + LINE * len(legend_lines)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((GAP + column * (tile_width + GAP), GAP), title, INK, font)
    for row in rows:
        for column, image in enumerate(row):
            sheet.paste(image, (GAP + column * (tile_width + GAP), top))
        top += max(image.height for image in row) + GAP
    for line in legend_lines:
        left = float(GAP)
        for name in line:
            draw.rectangle((left, top + 3, left + SWATCH, top + 3 + SWATCH), legend[name], INK)
            draw.text((left + SWATCH + 5, top), name, INK, font)
            left += _entry_width(name, font)
        top += LINE
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _legend_lines(
    legend: Mapping[str, Color], width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> list[list[str]]:
    """Names in lines that fit into the width; a name that does not fit has its own line."""
    lines: list[list[str]] = []
    used = 0.0
    for name in legend:
        entry = _entry_width(name, font)
        if not lines or used + entry > width:
            lines.append([])
            used = GAP
        lines[-1].append(name)
        used += entry
    return lines


def _entry_width(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> float:
    return SWATCH + 5 + font.getlength(name) + 2 * GAP
