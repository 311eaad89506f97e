"""Conversion of weights in other formats into a folder that transformers reads.

The result is stored once in `home/cache/weights/<sha256 of the original>`. A process writes it to a
scratch folder and renames it under a lock. A killed process therefore leaves no partial result, and
only one process converts.

Swin, from timm's format: the tensors are renamed. timm fuses the projections of query, key and
value into one matrix. The conversion splits them, so that each of them can be frozen alone.

Pickles of PyTorch (.bin): the tensors are read by `torch.load(weights_only=True)`, and keep their
names.

DINOv2, from a float32 ONNX graph that torch exported: the export keeps the names of biases, norms
and convolutions. A linear layer becomes `Add(MatMul(x, W^T), b)` with an anonymous W^T, so W takes
its name from b. The position table is anonymous too. It consists of two constants: the row of the
class token, which is an input of a Concat node, and the rows of the patches [1, n, D].
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.errors import WeightsError
from trainables.models.weights.checkpoint import damaged, hash_files, read_tensors
from trainables.models.weights.description import read_config
from trainables.models.weights.files import CONFIG, TENSORS, TOKENIZER_FILES, WAY_OUT
from trainables.storage.atomic import clear_scratch, new_folder, read_or_make
from trainables.storage.tensors import save_tensors

VERSION = 1  # of the converters; another version converts again

Converted = tuple[Mapping[str, Any], Mapping[str, Tensor]]  # config and state dict


def convert_once(
    files: Sequence[Path],
    convert: Callable[[], Converted],
    home: Path,
    copied: Sequence[Path] = (),
) -> Path:
    """Return the folder with the converted weights, converting them if needed.

    Args:
        files: The original files. Their content identifies the result.
        convert: Function that returns config and state dict.
        home: SWEEPER_HOME, which holds the cache.
        copied: Those of `files` that the folder gets unchanged.
    """
    folder = home / "cache" / "weights" / f"{hash_files(files)[:32]}-v{VERSION}"

    def make() -> None:
        config, state = convert()
        # A killed process may have left its scratch folder. Under the lock nobody writes to it.
        clear_scratch(folder)
        with new_folder(folder) as aside:
            (aside / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
            save_tensors(state, aside / TENSORS, metadata={"format": "pt"})
            for path in copied:
                shutil.copyfile(path, aside / path.name)

    return read_or_make(
        folder.with_name(f".{folder.name}.lock"), lambda: folder if folder.is_dir() else None, make
    )


def safetensors_from_pickle(folder: Path, files: Sequence[Path], home: Path) -> Path:
    """Return the folder with the pickled weights of `folder` as safetensors, made if needed.

    PyTorch reads the tensors of a pickle and refuses all else, so that no code in it runs.

    `files` are those of the weights: a pickle, or an index and its parts.

    Raises:
        WeightsError: A file is damaged, or holds more than tensors by name.
    """
    copied = [path for name in sorted(TOKENIZER_FILES) if (path := folder / name).is_file()]
    pickles = [path for path in files if path.suffix != ".json"]

    def convert() -> Converted:
        state: dict[str, Tensor] = {}
        for path in pickles:
            state |= _read_pickle(path)
        return read_config(folder), _without_shared_memory(state)

    return convert_once([folder / CONFIG, *files, *copied], convert, home, copied)


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        # `weights_only` refuses whatever is no tensor.
        found = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except (OSError, RuntimeError, EOFError) as error:
        raise damaged(path, error) from error
    except Exception as error:  # of the unpickler, whose errors share no base
        raise WeightsError(
            f"{path}: not a file of tensors alone, or damaged. It is not read, since code in it "
            f"could run. {WAY_OUT}"
        ) from error
    sound = isinstance(found, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    )
    if not sound or not found:
        raise WeightsError(f"{path}: it maps no names to tensors, as a state dict does. {WAY_OUT}")
    return dict(found)


def _without_shared_memory(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, each with memory of its own: safetensors refuses tied weights."""
    taken: set[int] = set()
    separate = {}
    for name, tensor in state.items():
        place = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if place in taken else tensor
        taken.add(place)
    return separate


BLOCK_NAMES = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.relative_position_bias_table": "attention.self.relative_position_bias_table",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
STEM_NAMES = {
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "patch_embed.norm": "embeddings.norm",
    "norm": "layernorm",
}
FUSED = ("query", "key", "value")
BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.(.+?)(\.weight|\.bias)?")
DOWNSAMPLE = re.compile(r"layers\.(\d+)\.(downsample\..+)")


def swin_from_timm(folder: Path, description: dict[str, Any]) -> Converted:
    """Return the config and the state dict (hub names) of the timm Swin in `folder`.

    `description` is timm's config.json: `architecture`, and `model_args` that override it.

    Raises:
        WeightsError: The network is not a Swin, or the weights do not fit the architecture.
    """
    import timm
    from timm.models.swin_transformer import SwinTransformer, checkpoint_filter_fn

    tensors = read_tensors(folder)
    architecture, arguments = description["architecture"], description.get("model_args") or {}
    try:
        # Only names, shapes and modules are read: no memory is needed and no weights are drawn.
        with torch.device("meta"):
            network = timm.create_model(architecture, num_classes=0, **arguments)
    except (RuntimeError, TypeError) as error:
        raise WeightsError(f"{folder / CONFIG}: timm cannot build it: {error}") from error
    if not isinstance(network, SwinTransformer):
        raise WeightsError(f"{folder / CONFIG}: of timm's models only Swin is read here.")
    try:
        stored = checkpoint_filter_fn(tensors, network)
    except AttributeError as error:
        raise WeightsError(f"{folder}: not the weights of a {architecture}: {error}") from error
    # Names and shapes are checked before renaming, so that no parameter stays random unnoticed.
    state = {key: tensor for key, tensor in stored.items() if not key.startswith("head.")}
    expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    faults = sorted(
        key
        for key in expected.keys() | state.keys()
        if key not in state or expected.get(key) != state[key].shape
    )
    if faults:
        raise WeightsError(
            f"{folder} does not fit {architecture}; at fault: {', '.join(faults[:5])}"
        )
    return _config(network, state), _renamed(state)


def _config(network: Any, state: dict[str, Tensor]) -> dict[str, Any]:
    # timm stores no config in the form of transformers, so it follows from modules and shapes.
    blocks = [stage.blocks[0] for stage in network.layers]
    tables = {isqrt(len(block.attn.relative_position_bias_table)) for block in blocks}
    if len(tables) > 1:
        raise WeightsError("the stages of this Swin have windows of several sizes; need one size.")
    hidden, _, patch, _ = state["patch_embed.proj.weight"].shape
    return {
        "model_type": "swin",
        "architectures": ["SwinModel"],
        "image_size": network.patch_embed.img_size[0],
        "patch_size": patch,
        "embed_dim": hidden,
        "depths": [len(stage.blocks) for stage in network.layers],
        "num_heads": [block.attn.num_heads for block in blocks],
        # A window of w x w has a table of (2 w - 1)^2 relative positions.
        "window_size": (tables.pop() + 1) // 2,
        "mlp_ratio": len(state["layers.0.blocks.0.mlp.fc1.weight"]) / hidden,
        "qkv_bias": "layers.0.blocks.0.attn.qkv.bias" in state,
    }


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under transformers' names.

    In transformers, downsampling is the end of a stage; in timm, it is the start of the next one.
    """
    renamed = {}
    for key, tensor in state.items():
        if match := DOWNSAMPLE.fullmatch(key):
            renamed[f"encoder.layers.{int(match[1]) - 1}.{match[2]}"] = tensor
        elif match := BLOCK.fullmatch(key):
            stage, block, part, kind = match.groups(default="")
            prefix = f"encoder.layers.{stage}.blocks.{block}."
            if part == "attn.qkv":
                for name, third in zip(FUSED, tensor.chunk(3), strict=True):
                    # safetensors refuses tensors that share memory.
                    renamed[f"{prefix}attention.self.{name}{kind}"] = third.clone()
            else:
                renamed[f"{prefix}{BLOCK_NAMES[part]}{kind}"] = tensor
        else:
            part, _, kind = key.rpartition(".")
            renamed[f"{STEM_NAMES[part]}.{kind}"] = tensor
    return renamed


PREFIX = "backbone."
HEAD_WIDTH = 64  # of every published DINOv2

Arrays = dict[str, np.ndarray]


def dinov2_from_onnx(path: Path) -> Converted:
    """Return the config and the state dict (hub names) of the DINOv2 in the graph at `path`.

    Raises:
        WeightsError: The file is not the ONNX graph of a DINOv2.
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
    # The graph has no config, so the sizes follow from the shapes. The mask token is never used.
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
    """Return the named tensors, the linear weights [out, in], and all constants."""
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
    # A linear weight takes the name of the bias that is added to its product.
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
    """Return the positions of class token and patches [1, 1 + n, D], found by their shapes."""
    hidden = state["embeddings.cls_token"].size
    class_rows = [a for a in _concatenated(graph, constants) if a.size == hidden]
    # Patches form a square grid, which tells their table from other constants of three axes.
    patch_rows = [
        array
        for array in constants.values()
        if array.ndim == 3 and array.shape[0] == 1 and array.shape[1] > 1
        if array.shape[2] == hidden and isqrt(array.shape[1]) ** 2 == array.shape[1]
    ]
    # More or fewer candidates are an error, which the caller reports as another graph.
    (class_row,), (patches,) = class_rows, patch_rows
    return np.concatenate([class_row.reshape(1, 1, hidden), patches], axis=1)


def _concatenated(graph: object, constants: Arrays) -> Iterator[np.ndarray]:
    for node in graph.node:  # type: ignore[attr-defined]
        if node.op_type == "Concat":
            yield from (constants[name] for name in node.input if name in constants)
