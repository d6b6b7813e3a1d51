"""The handwritten digits bundled with scikit-learn: 1,797 images of 8 x 8 pixels, ten classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

TRAIN_IMAGES = 1400


@dataclass(frozen=True)
class Digits:
    """Images as rows of 64 pixels scaled to 0..1, and the digit each one shows."""

    pixels: Floats
    labels: Labels


def load() -> Digits:
    """All 1,797 images, in the order of the data set."""
    bunch = load_digits()
    return Digits(bunch.data / 16.0, bunch.target.astype(np.int64))


def split(digits: Digits, seed: int = 0) -> tuple[Digits, Digits]:
    """A shuffled training part of 1,400 images and a test part of the other 397."""
    order = np.random.default_rng(seed).permutation(len(digits.labels))
    train, test = order[:TRAIN_IMAGES], order[TRAIN_IMAGES:]
    return (
        Digits(digits.pixels[train], digits.labels[train]),
        Digits(digits.pixels[test], digits.labels[test]),
    )
