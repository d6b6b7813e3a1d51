"""What executions of compiled graphs return."""

from __future__ import annotations

from whipray.dag.compiled import CompiledDAGFuture, CompiledDAGRef

__all__ = ["CompiledDAGFuture", "CompiledDAGRef"]
