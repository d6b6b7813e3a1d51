"""A two-layer perceptron in NumPy: its weights are one flat vector, its gradient another.

Layout of the vector for `inputs` x `hidden` x `classes`: first matrix, first bias, second matrix,
second bias, each in row-major order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .digits import Digits, Floats, Labels


@dataclass(frozen=True)
class Shape:
    """Widths of the three layers."""

    inputs: int = 64
    hidden: int = 256
    classes: int = 10

    @property
    def size(self) -> int:
        """Number of weights, biases included."""
        return (self.inputs + 1) * self.hidden + (self.hidden + 1) * self.classes


def initial_weights(shape: Shape, seed: int = 0) -> Floats:
    """Scaled normal matrices and zero biases."""
    rng = np.random.default_rng(seed)
    weights = np.zeros(shape.size)
    first, _, second, _ = _parts(weights, shape)
    first[...] = rng.normal(0.0, np.sqrt(2.0 / shape.inputs), first.shape)
    second[...] = rng.normal(0.0, np.sqrt(1.0 / shape.hidden), second.shape)
    return weights


def gradient(weights: Floats, pixels: Floats, labels: Labels, shape: Shape) -> Floats:
    """Gradient of the mean cross-entropy of a batch; the same layout as `weights`."""
    first, first_bias, second, _ = _parts(weights, shape)
    activity = pixels @ first + first_bias
    hidden = np.maximum(activity, 0.0)
    error = _probabilities(weights, hidden, shape)
    error[np.arange(len(labels)), labels] -= 1.0
    error /= len(labels)
    back = (error @ second.T) * (activity > 0.0)

    result = np.empty(shape.size)
    d_first, d_first_bias, d_second, d_second_bias = _parts(result, shape)
    np.matmul(pixels.T, back, out=d_first)
    np.sum(back, axis=0, out=d_first_bias)
    np.matmul(hidden.T, error, out=d_second)
    np.sum(error, axis=0, out=d_second_bias)
    return result


def loss(weights: Floats, pixels: Floats, labels: Labels, shape: Shape) -> float:
    """Mean cross-entropy of a batch, the function whose slope `gradient` is."""
    first, first_bias, _, _ = _parts(weights, shape)
    hidden = np.maximum(pixels @ first + first_bias, 0.0)
    likely = _probabilities(weights, hidden, shape)[np.arange(len(labels)), labels]
    return float(-np.log(likely).mean())


def accuracy(weights: Floats, digits: Digits, shape: Shape) -> float:
    """Share of images whose most probable class is the right one."""
    first, first_bias, _, _ = _parts(weights, shape)
    hidden = np.maximum(digits.pixels @ first + first_bias, 0.0)
    guess = _probabilities(weights, hidden, shape).argmax(axis=1)
    return float(np.mean(guess == digits.labels))


def _parts(vector: Floats, shape: Shape) -> tuple[Floats, Floats, Floats, Floats]:
    """Views of the four pieces of a flat vector."""
    sizes = (shape.inputs * shape.hidden, shape.hidden, shape.hidden * shape.classes)
    first, first_bias, second, second_bias = np.split(vector, np.cumsum(sizes))
    return (
        first.reshape(shape.inputs, shape.hidden),
        first_bias,
        second.reshape(shape.hidden, shape.classes),
        second_bias,
    )


def _probabilities(weights: Floats, hidden: Floats, shape: Shape) -> Floats:
    _, _, second, second_bias = _parts(weights, shape)
    scores = hidden @ second + second_bias
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores
