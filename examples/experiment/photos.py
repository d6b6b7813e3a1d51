"""What is done to one photograph: decode, crop, filter, encode.  Plain functions, no tasks.

The photographs are the two that scikit-learn bundles, 640 x 427 pixels each.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Pixels = NDArray[np.uint8]

PHOTOGRAPHS = ("china.jpg", "flower.jpg")

# Crops as shares of the height and width: top, bottom, left, right.
CROPS: dict[str, tuple[float, float, float, float]] = {
    "whole": (0.0, 1.0, 0.0, 1.0),
    "left": (0.0, 1.0, 0.0, 0.5),
    "right": (0.0, 1.0, 0.5, 1.0),
    "centre": (0.2, 0.8, 0.2, 0.8),
}

SETTINGS: dict[str, tuple[float, ...]] = {
    "blur": (1.0, 2.5, 6.0),
    "sharpen": (0.8, 2.0),
    "edges": (1.0, 2.0),
    "resize": (0.5, 1.5),
}

FORMATS = ("png", "jpeg")


@dataclass(frozen=True)
class Edit:
    """One output image: which photograph, which part of it, which filter, which file format."""

    photograph: str
    crop: str
    filter: str
    amount: float
    format: str

    @property
    def filename(self) -> str:
        stem = self.photograph.split(".")[0]
        suffix = "jpg" if self.format == "jpeg" else self.format
        return f"{stem}-{self.crop}-{self.filter}-{self.amount:g}.{suffix}"


def all_edits() -> list[Edit]:
    """Every photograph, crop and filter setting, with the two file formats in turn: 72 images."""
    combinations = product(PHOTOGRAPHS, CROPS, _filter_settings())
    return [
        Edit(photograph, crop, name, amount, FORMATS[index % len(FORMATS)])
        for index, (photograph, crop, (name, amount)) in enumerate(combinations)
    ]


def read(photograph: str) -> bytes:
    """The bytes of the JPEG file."""
    return files("sklearn.datasets.images").joinpath(photograph).read_bytes()


def decode(data: bytes) -> Pixels:
    """Height x width x 3 values of red, green and blue."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def apply_filter(pixels: Pixels, edit: Edit) -> Pixels:
    """Crop and filter; `pixels` is only read."""
    part = _crop(pixels, edit.crop).astype(np.float32)
    result = FILTERS[edit.filter](part, edit.amount)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def encode(pixels: Pixels, file_format: str) -> bytes:
    """The image as the bytes of a PNG or JPEG file."""
    buffer = io.BytesIO()
    options = {"quality": 90} if file_format == "jpeg" else {"compress_level": 6}
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def _filter_settings() -> list[tuple[str, float]]:
    return [(name, amount) for name, amounts in SETTINGS.items() for amount in amounts]


def _crop(pixels: Pixels, crop: str) -> Pixels:
    height, width = pixels.shape[:2]
    top, bottom, left, right = CROPS[crop]
    rows = slice(round(top * height), round(bottom * height))
    columns = slice(round(left * width), round(right * width))
    return pixels[rows, columns]


Image32 = NDArray[np.float32]


def _blur(pixels: Image32, sigma: float) -> Image32:
    """Gaussian blur of each colour; `sigma` in pixels."""
    blurred: Image32 = ndimage.gaussian_filter(pixels, sigma=(sigma, sigma, 0.0))
    return blurred


def _sharpen(pixels: Image32, strength: float) -> Image32:
    """Unsharp mask: add `strength` times what a blur takes away."""
    return pixels + np.float32(strength) * (pixels - _blur(pixels, 1.5))


def _edges(pixels: Image32, gain: float) -> Image32:
    """Length of the Sobel gradient of the brightness, as a grey image of three channels."""
    grey = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    length = np.hypot(ndimage.sobel(grey, axis=0), ndimage.sobel(grey, axis=1))
    return np.repeat((np.float32(gain / 4.0) * length)[..., np.newaxis], 3, axis=2)


def _resize(pixels: Image32, factor: float) -> Image32:
    """Scale both sides by `factor` with cubic splines, one colour at a time."""
    colours = np.moveaxis(pixels, 2, 0)
    return np.stack([ndimage.zoom(one, factor, order=3, mode="reflect") for one in colours], axis=2)


FILTERS: dict[str, Callable[[Image32, float], Image32]] = {
    "blur": _blur,
    "sharpen": _sharpen,
    "edges": _edges,
    "resize": _resize,
}
