"""Graphs of tasks and actor calls that are described first, by `bind`, and run by `execute`."""

from __future__ import annotations

from whipray.dag.class_node import ClassMethodNode, ClassNode
from whipray.dag.compiled_dag_node import CompiledDAG, CompiledDAGFuture, CompiledDAGRef
from whipray.dag.constants import (
    BIND_INDEX_KEY,
    IS_CLASS_METHOD_OUTPUT_KEY,
    PARENT_CLASS_NODE_KEY,
    PREV_CLASS_METHOD_CALL_KEY,
)
from whipray.dag.dag_node import DAGNode
from whipray.dag.function_node import FunctionNode
from whipray.dag.input_node import DAGInputData, InputAttributeNode, InputNode
from whipray.dag.output_node import MultiOutputNode

__all__ = [
    "BIND_INDEX_KEY",
    "IS_CLASS_METHOD_OUTPUT_KEY",
    "PARENT_CLASS_NODE_KEY",
    "PREV_CLASS_METHOD_CALL_KEY",
    "ClassMethodNode",
    "ClassNode",
    "CompiledDAG",
    "CompiledDAGFuture",
    "CompiledDAGRef",
    "DAGInputData",
    "DAGNode",
    "FunctionNode",
    "InputAttributeNode",
    "InputNode",
    "MultiOutputNode",
]
