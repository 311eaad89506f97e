"""A page as it is printed: what poppler's tools see of a PDF."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

needs_poppler = pytest.mark.skipif(
    not (shutil.which("pdftoppm") and shutil.which("pdftotext")),
    reason="needs pdftoppm and pdftotext (Debian: poppler-utils)",
)
DPI = 36
PAGE = re.compile(r'<page width="([\d.]+)" height="([\d.]+)">(.*?)</page>', re.DOTALL)
WORD = re.compile(
    r'<word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>'
)


@dataclass(frozen=True)
class Word:
    """A word and its box, in points from the upper left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    def covers(self, other: "Word") -> bool:
        """Return whether two boxes share more than a third of the smaller one."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        if across <= 0 or down <= 0:
            return False
        return across * down > min(self.area, other.area) / 3

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True)
class Sheet:
    """One printed page."""

    width: float  # points
    height: float
    words: tuple[Word, ...]
    ink: np.ndarray  # [rows, columns], whether a pixel is not white

    def beyond(self, margin: float) -> list[str]:
        """Return the words that are nearer to an edge than `margin` points."""
        return [
            word.text
            for word in self.words
            if min(word.left, word.top, self.width - word.right, self.height - word.bottom) < margin
        ]

    def has_ink_beyond(self, margin: float) -> bool:
        """Return whether something is drawn nearer to an edge than `margin` points."""
        edge = int(margin * DPI / 72)
        inner = self.ink[edge:-edge, edge:-edge]
        return bool(self.ink.sum() > inner.sum())

    def covered(self) -> list[tuple[str, str]]:
        """Return the pairs of words that lie on each other."""
        return [(a.text, b.text) for a, b in combinations(self.words, 2) if a.covers(b)]

    @property
    def blank(self) -> float:
        """The share of the page, from its end, on which nothing is drawn."""
        rows = np.flatnonzero(self.ink.any(axis=1))
        return 1.0 if not len(rows) else 1 - (rows[-1] + 1) / len(self.ink)


def sheets(pdf: Path) -> list[Sheet]:
    """Return the pages of a PDF."""
    boxes = subprocess.run(
        ["pdftotext", "-bbox", str(pdf), "-"], capture_output=True, text=True, check=True
    ).stdout
    subprocess.run(
        ["pdftoppm", "-gray", "-r", str(DPI), str(pdf), str(pdf.with_suffix(""))], check=True
    )
    images = sorted(pdf.parent.glob(f"{pdf.stem}-*.pgm"))
    return [
        Sheet(
            width=float(width),
            height=float(height),
            words=tuple(
                Word(found[5], *map(float, found.groups()[:4])) for found in WORD.finditer(inside)
            ),
            ink=_gray(image) < 250,
        )
        for (width, height, inside), image in zip(PAGE.findall(boxes), images, strict=True)
    ]


def _gray(image: Path) -> np.ndarray:
    """Read a binary PGM."""
    magic, width, height, _, pixels = image.read_bytes().split(maxsplit=4)[:5]
    assert magic == b"P5"
    size = int(width) * int(height)
    return np.frombuffer(pixels[-size:], np.uint8).reshape(int(height), int(width))
