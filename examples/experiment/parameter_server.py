"""Training with a parameter server: one actor holds the weights, others compute gradients.

Each gradient actor owns a shard of the training images.  Two ways to train are shown:

* synchronous: in every step all shards compute a gradient of the same weights and the server
  applies their mean.  The plain loop does the same arithmetic and must end with the same bits.
* asynchronous: every shard pulls weights and pushes gradients at its own pace, so the order
  differs from run to run.  The server keeps a journal; replaying it in a plain loop must give the
  same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import whipray

from .digits import Digits, Floats
from .network import Shape, gradient, initial_weights


@dataclass(frozen=True)
class Training:
    """Settings of a run.  Batches are consecutive images of the shard, `batch` at a time."""

    steps: int = 300
    shards: int = 2
    batch: int = 600
    rate: float = 0.15
    momentum: float = 0.9
    shape: Shape = field(default_factory=Shape)


@dataclass(frozen=True)
class Push:
    """One journal entry: `shard` sent the gradient of its batch `step` at weights `version`."""

    shard: int
    step: int
    version: int


class ParameterServer:
    """Holds the weights and applies gradients with momentum."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._weights = initial_weights(training.shape)
        self._velocity = np.zeros_like(self._weights)
        self._journal: list[Push] = []

    def apply(self, *gradients: Floats) -> Floats:
        """Step along the mean of the gradients; returns the new weights."""
        total = np.zeros_like(self._weights)
        for one in gradients:
            total += one
        self._velocity *= self._training.momentum
        self._velocity -= (self._training.rate / len(gradients)) * total
        self._weights = self._weights + self._velocity
        return self._weights

    def push(self, shard: int, step: int, version: int, one: Floats) -> tuple[int, Floats]:
        """Apply one gradient, note it in the journal, and return what `pull` returns."""
        self._journal.append(Push(shard, step, version))
        self.apply(one)
        return self.pull()

    def pull(self) -> tuple[int, Floats]:
        """The number of pushes so far and the current weights."""
        return len(self._journal), self._weights

    def journal(self) -> list[Push]:
        """All pushes in the order in which they were applied."""
        return list(self._journal)


class GradientWorker:
    """Computes gradients on one shard of the training images."""

    def __init__(self, shard: int, images: Digits, training: Training) -> None:
        self._shard = shard
        self._images = images
        self._training = training

    def gradient(self, weights: Floats, step: int) -> Floats:
        """Gradient at `weights` of the batch that belongs to `step`."""
        batch = self._training.batch
        start = step * batch % max(1, len(self._images.labels) - batch + 1)
        chosen = slice(start, start + batch)
        return gradient(
            weights,
            self._images.pixels[chosen],
            self._images.labels[chosen],
            self._training.shape,
        )

    def train_alone(self, server: Any) -> int:
        """Pull and push at this worker's own pace; returns the number of steps."""
        version, weights = whipray.get(server.pull.remote())
        for step in range(self._training.steps):
            one = self.gradient(weights, step)
            reply = server.push.remote(self._shard, step, version, one)
            version, weights = whipray.get(reply)
        return self._training.steps


RemoteServer = whipray.remote(ParameterServer)
RemoteWorker = whipray.remote(GradientWorker)


def shards_of(digits: Digits, count: int) -> list[Digits]:
    """The images dealt out in turn, as `count` sets of nearly equal size."""
    return [
        Digits(
            np.ascontiguousarray(digits.pixels[part::count]),
            np.ascontiguousarray(digits.labels[part::count]),
        )
        for part in range(count)
    ]


def train(digits: Digits, training: Training) -> Floats:
    """Synchronous training with actors; the driver only passes references along."""
    server = RemoteServer.remote(training)
    workers = _start_workers(digits, training)
    _, weights = whipray.get(server.pull.remote())
    latest = whipray.put(weights)
    for step in range(training.steps):
        gradients = [worker.gradient.remote(latest, step) for worker in workers]
        latest = server.apply.remote(*gradients)
    return np.array(whipray.get(latest))


def train_in_loop(digits: Digits, training: Training) -> Floats:
    """The same steps without actors."""
    server = ParameterServer(training)
    workers = _local_workers(digits, training)
    _, weights = server.pull()
    for step in range(training.steps):
        weights = server.apply(*[worker.gradient(weights, step) for worker in workers])
    return weights


def train_asynchronously(digits: Digits, training: Training) -> tuple[Floats, list[Push]]:
    """Each worker trains at its own pace; returns the weights and the server's journal."""
    server = RemoteServer.remote(training)
    workers = _start_workers(digits, training)
    whipray.get([worker.train_alone.remote(server) for worker in workers])
    _, weights = whipray.get(server.pull.remote())
    return np.array(weights), whipray.get(server.journal.remote())


def replay(digits: Digits, training: Training, journal: Sequence[Push]) -> Floats:
    """The pushes of a journal, applied one by one in this process."""
    server = ParameterServer(training)
    workers = _local_workers(digits, training)
    _, weights = server.pull()
    versions = [weights]
    for push in journal:
        one = workers[push.shard].gradient(versions[push.version], push.step)
        _, weights = server.push(push.shard, push.step, push.version, one)
        versions.append(weights)
    return weights


def _start_workers(digits: Digits, training: Training) -> list[Any]:
    parts = shards_of(digits, training.shards)
    return [RemoteWorker.remote(index, part, training) for index, part in enumerate(parts)]


def _local_workers(digits: Digits, training: Training) -> list[GradientWorker]:
    parts = shards_of(digits, training.shards)
    return [GradientWorker(index, part, training) for index, part in enumerate(parts)]
