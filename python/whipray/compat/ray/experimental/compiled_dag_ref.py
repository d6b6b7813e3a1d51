"""What executions of compiled graphs return."""

from __future__ import annotations

from whipray.dag.compiled_dag_node import CompiledDAGFuture, CompiledDAGRef

__all__ = ["CompiledDAGFuture", "CompiledDAGRef"]
