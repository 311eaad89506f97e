"""A DINOv2 state dict out of a float32 ONNX graph that torch exported.

An export keeps the names of biases, norms and convolutions, but a linear layer becomes
`Add(MatMul(x, W^T), b)` with W^T anonymous: W takes its name from b. The position table is an
anonymous constant too, in two parts: one row for the class token, which is concatenated, and the
patches' rows [1, n, D].
"""

from collections.abc import Iterator
from math import isqrt
from pathlib import Path

import numpy as np
import torch

from trainables.errors import WeightsError
from trainables.models.weights.conversion import Converted

PREFIX = "backbone."
HEAD_WIDTH = 64  # of every published DINOv2

Arrays = dict[str, np.ndarray]


def dinov2_from_onnx(path: Path) -> Converted:
    """Returns the config and the state dict (hub names) of the DINOv2 in the graph at `path`.

    Raises:
        WeightsError: The file is no ONNX graph, or not one of a DINOv2.
    """
    import onnx

    try:
        graph = onnx.load(path).graph
        named, linear, constants = _read_tensors(graph)
        state = {**named, **linear}
        state["embeddings.position_embeddings"] = _position_table(graph, constants, state)
    except Exception as error:  # protobuf's and onnx's errors share no base
        raise WeightsError(
            f"{path}: not the ONNX graph of a DINOv2 ({error!r}); install its package anew."
        ) from error
    hidden, _, patch, _ = state["embeddings.patch_embeddings.projection.weight"].shape
    state["embeddings.mask_token"] = np.zeros((1, hidden), np.float32)
    layers = {key.split(".")[2] for key in state if key.startswith("encoder.layer.")}
    config = {
        "model_type": "dinov2",
        "architectures": ["Dinov2Model"],
        "hidden_size": hidden,
        "num_hidden_layers": len(layers),
        "num_attention_heads": hidden // HEAD_WIDTH,
        "patch_size": patch,
        "image_size": isqrt(state["embeddings.position_embeddings"].shape[1] - 1) * patch,
    }
    return config, {key: torch.from_numpy(np.array(value)) for key, value in state.items()}


def _read_tensors(graph: object) -> tuple[Arrays, Arrays, Arrays]:
    """Returns the tensors that have a name, the linear weights [out, in], and all constants."""
    from onnx import numpy_helper

    initializers = {t.name: numpy_helper.to_array(t) for t in graph.initializer}  # type: ignore[attr-defined]
    nodes = list(graph.node)  # type: ignore[attr-defined]
    constants = dict(initializers)
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in nodes
        if node.op_type == "Constant"
    }
    named = {
        name.removeprefix(PREFIX): array
        for name, array in initializers.items()
        if name.startswith(PREFIX)
    }
    bias_after = {
        source: name
        for node in nodes
        if node.op_type == "Add"
        for name in node.input
        if name.startswith(PREFIX) and name.endswith(".bias")
        for source in node.input
        if source != name
    }
    linear = {}
    for node in nodes:
        if node.op_type == "MatMul" and node.input[1] in initializers:
            bias = bias_after[node.output[0]].removeprefix(PREFIX)
            linear[bias.removesuffix("bias") + "weight"] = initializers[node.input[1]].T
    return named, linear, constants


def _position_table(graph: object, constants: Arrays, state: Arrays) -> np.ndarray:
    """Returns the class token's and the patches' positions [1, 1 + n, D], found by their shapes."""
    hidden = state["embeddings.cls_token"].size
    class_rows = [a for a in _concatenated(graph, constants) if a.size == hidden]
    patch_rows = [
        array
        for array in constants.values()
        if array.ndim == 3 and array.shape[0] == 1 and array.shape[1] > 1
        if array.shape[2] == hidden and isqrt(array.shape[1]) ** 2 == array.shape[1]
    ]
    (class_row,), (patches,) = class_rows, patch_rows
    return np.concatenate([class_row.reshape(1, 1, hidden), patches], axis=1)


def _concatenated(graph: object, constants: Arrays) -> Iterator[np.ndarray]:
    for node in graph.node:  # type: ignore[attr-defined]
        if node.op_type == "Concat":
            yield from (constants[name] for name in node.input if name in constants)
