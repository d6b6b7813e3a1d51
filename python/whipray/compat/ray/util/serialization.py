"""`ray.util.serialization`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from whipray.cloudpickle import CloudPickler
from whipray.compat.facade import show

show(__name__, "whipray.util.serialization")


class StandaloneSerializationContext:
    """Registers reducers with cloudpickle itself, session or not."""

    def _register_cloudpickle_reducer(self, cls: type, reducer: Callable[[Any], Any]) -> None:
        CloudPickler.dispatch[cls] = reducer

    def _unregister_cloudpickle_reducer(self, cls: type) -> None:
        CloudPickler.dispatch.pop(cls, None)

    def _register_cloudpickle_serializer(
        self,
        cls: type,
        custom_serializer: Callable[[Any], Any],
        custom_deserializer: Callable[[Any], Any],
    ) -> None:
        def reduce(value: Any) -> tuple[Any, ...]:
            return custom_deserializer, (custom_serializer(value),)

        self._register_cloudpickle_reducer(cls, reduce)
