"""Files of weights in a folder: safetensors, whole or in parts, and pickles of tensors.

Importing this module loads no torch.
"""

import json
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from trainables.errors import WeightsError

CONFIG, TENSORS = "config.json", "model.safetensors"
INDEX = ".index.json"  # ending of a file that lists the parts of weights
SAFE = (TENSORS, TENSORS + INDEX)
PICKLES = ("pytorch_model.bin", "pytorch_model.bin" + INDEX)
OTHERS = (".h5", ".msgpack", ".ckpt", ".pt", ".pth", ".bin", ".pkl", ".onnx", ".gguf", ".npz",
          ".safetensors", ".ot")  # fmt: skip
TOKENIZER_FILES = frozenset(
    {
        "added_tokens.json",
        "merges.txt",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "spiece.model",
        "spm.model",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
    }
)
WAY_OUT = (
    f"Save the weights as {TENSORS}: load them in the program that wrote them, and call "
    "`model.save_pretrained(folder)` of transformers."
)


def choose(names: Collection[str]) -> str | None:
    """Return the file of weights to read among the files of a folder, or None.

    safetensors come before pickles, and a whole file before one in parts.
    """
    return next((name for name in (*SAFE, *PICKLES) if name in names), None)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of the weights in `folder`. If they are in parts, the index is the first.

    Raises:
        WeightsError: There are no weights that are read, or the index is not sound, or a part is
            missing.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    chosen = choose(names)
    if chosen is None:
        raise no_weights(str(folder), names)
    if not chosen.endswith(INDEX):
        return (folder / chosen,)
    parts = part_names(folder / chosen)
    if missing := [name for name in parts if name not in names]:
        raise WeightsError(
            f"{folder / chosen}: it lists {missing[0]}, which is not there: fetch all its parts."
        )
    return (folder / chosen, *(folder / name for name in parts))


def part_names(index: Path) -> list[str]:
    """Return the names of the files that an index of weights lists.

    Raises:
        WeightsError: The index cannot be read, or it lists anything but files beside it.
    """
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        names = sorted({str(name) for name in listed})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{index}: not an index of weights ({error!r}); fetch it anew."
        ) from error
    # An index is not trusted: it must not lead out of its folder, nor to another format.
    ending = PurePosixPath(index.name.removesuffix(INDEX)).suffix
    for name in names:
        if Path(name).name != name or not name.endswith(ending):
            raise WeightsError(f"{index}: it lists `{name}`, which is no {ending} file beside it.")
    if not names:
        raise WeightsError(f"{index}: it lists no weights; fetch it anew.")
    return names


def no_weights(place: str, names: Collection[str]) -> WeightsError:
    """Return the error for a place whose weights are missing, or of a format that is not read.

    Args:
        place: Path of the folder, or name of the repository.
        names: Names of the files there.
    """
    others = sorted(name for name in names if name.endswith(OTHERS))
    found = f" {', '.join(others[:3])} {'is' if len(others) == 1 else 'are'} not read." * bool(
        others
    )
    return WeightsError(f"{place}: no {TENSORS}.{found} {WAY_OUT}")
