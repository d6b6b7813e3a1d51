"""The photograph pipeline: decode, filter and encode as chained tasks, with bounded work in flight.

Each photograph is decoded once; its pixels stay in the object store and every filter task reads
them there.  A filter's result goes straight from its task to the encoder's, never through the
driver.  The driver submits a new edit only when an earlier one is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

import whipray

from .flow import BoundedFlow
from .photos import PHOTOGRAPHS, Edit, apply_filter, decode, encode, read

Images = dict[Edit, bytes]

remote_decode = whipray.remote(decode)
remote_filter = whipray.remote(apply_filter)
remote_encode = whipray.remote(encode)


@dataclass(frozen=True)
class PipelineRun:
    """The encoded images, in the order of the edits, and the highest number in flight."""

    images: Images
    most_in_flight: int


def run(edits: Sequence[Edit], in_flight: int) -> PipelineRun:
    """All edits as chains of tasks, at most `in_flight` chains unfinished at any time."""
    photographs = {name: remote_decode.remote(read(name)) for name in PHOTOGRAPHS}

    def submit(edit: Edit) -> Any:
        filtered = remote_filter.remote(photographs[edit.photograph], edit)
        return remote_encode.remote(filtered, edit.format)

    flow = BoundedFlow(submit, limit=in_flight)
    finished: Images = {}
    with tqdm(total=len(edits), desc="photos", unit="image", ncols=88) as bar:
        for edit, image in flow.run(edits):
            finished[edit] = image
            bar.update()
    return PipelineRun({edit: finished[edit] for edit in edits}, flow.most_in_flight)


def run_in_loop(edits: Iterable[Edit]) -> Images:
    """The same images, one after the other, in this process."""
    photographs = {name: decode(read(name)) for name in PHOTOGRAPHS}
    return {
        edit: encode(apply_filter(photographs[edit.photograph], edit), edit.format)
        for edit in edits
    }
