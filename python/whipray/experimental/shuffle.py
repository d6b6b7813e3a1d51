"""Items of some partitions spread over others: a task for each partition that is read, and one for
each that is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import whipray

PartitionID = int


class ObjectStoreWriter:
    """Collects what one reading task sends to one partition: each item as a value of its own."""

    def __init__(self) -> None:
        self.results: list[Any] = []

    def add(self, item: Any) -> None:
        """Take an item."""
        self.results.append(whipray.put(item))

    def finish(self) -> list[Any]:
        """What the writing task gets."""
        return self.results


class ObjectStoreWriterNonStreaming(ObjectStoreWriter):
    """The same for items that are small: they travel together."""

    def add(self, item: Any) -> None:
        """Take an item."""
        self.results.append(item)


def round_robin_partitioner(
    input_stream: Iterable[Any], num_partitions: int
) -> Iterator[tuple[PartitionID, Any]]:
    """Each item with its partition: one after the other, and from the first again."""
    for number, item in enumerate(input_stream):
        yield number % num_partitions, item


def simple_shuffle(
    *,
    input_reader: Callable[[PartitionID], Iterable[Any]],
    input_num_partitions: int,
    output_num_partitions: int,
    output_writer: Callable[[PartitionID, list[Any]], Any],
    partitioner: Callable[
        [Iterable[Any], int], Iterable[tuple[PartitionID, Any]]
    ] = round_robin_partitioner,
    object_store_writer: Callable[[], ObjectStoreWriter] = ObjectStoreWriter,
    tracker: Any = None,
    streaming: bool = True,
) -> list[Any]:
    """Read all partitions, send each item where `partitioner` says, and write what has come there.

    Args:
        input_reader: the items of a partition.
        output_writer: gets the number of a partition and what has come there, in the order of the
            partitions that were read: references, unless `object_store_writer` collects otherwise.
        tracker: an actor whose `register_objectrefs` is told the references of both kinds of task.

    Returns:
        What `output_writer` has given for each partition.
    """

    @whipray.remote(num_returns=output_num_partitions)
    def read(i: PartitionID) -> Any:
        writers = [object_store_writer() for _ in range(output_num_partitions)]
        for target, item in partitioner(input_reader(i), output_num_partitions):
            writers[target].add(item)
        sent = [writer.finish() for writer in writers]
        return sent[0] if output_num_partitions == 1 else sent

    @whipray.remote
    def write(i: PartitionID, *sent: list[Any]) -> Any:
        return output_writer(i, [item for items in sent for item in items])

    rows: Any = [read.remote(i) for i in range(input_num_partitions)]
    if output_num_partitions == 1:
        rows = [[ref] for ref in rows]
    written = [write.remote(j, *[row[j] for row in rows]) for j in range(output_num_partitions)]
    if tracker is not None:
        tracker.register_objectrefs.remote([row[0] for row in rows], written)
    return list(whipray.get(written))
