"""Samples of the source modality, and their tokens from the frozen source embedder.

A source keeps the inputs of the embedder (images, or windows of token ids) and embeds one batch at
a time. All tokens together would be too large: 5000 images on Swin's 56 x 56 grid take 8 GB. Only
the means over the grid are kept, because distances between the modalities need them. Inputs and
means are computed once for given weights, grid, proxy, number and seed. Every trial of a node maps
them from `home/cache/source/`.

Sentences with a label per word become windows with one label each. The sub-words of all sentences
are concatenated in order and cut into windows of `WINDOW` sub-words. The label of a window is the
most frequent label of its sub-words; in a tie, the lower number. Windows without any label are
dropped. In a scheme of named entities, the first sub-word of a word keeps B-, and the following
ones become I-, because an entity begins only once.

Shapes: n = samples; B = batch; N = tokens per sample; D = width of a token.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from trainables.errors import ConfigError, DataError
from trainables.models.backbone import Backbone
from trainables.models.cross_modal import single_precision
from trainables.seeding import generator
from trainables.sources.proxy import ImageProxy, Proxy, TokenProxy
from trainables.sources.registry import PROXIES
from trainables.storage.tensors import DiskCache
from trainables.tasks.store.device_rows import DeviceRows
from trainables.tasks.task import Task

FORMAT = 2  # of a cached source; increase it when its contents change
WINDOW = 32  # sub-words per sample
CHUNK = 64  # samples embedded at once for the means
LIMIT = 5000  # maximal number of samples
SEED = 0  # of all draws; independent of the trial's seed, so that trials share one source

Embed = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Labelled source samples, read-only."""

    inputs: Tensor  # uint8 [n, 3, H, W] or int64 [n, N]
    labels: Int64[Tensor, " n"]
    features: Float32[Tensor, "n d"]  # tokens, averaged over N
    num_classes: int
    content_hash: str  # of all inputs of its computation
    embed: Embed
    masks: UInt8[Tensor, "n h w"] | None = None  # of a dense proxy: 0, 1, or 255 (ignored)
    folder: Path | None = None  # in this machine's cache, for results derived from this source
    rows: DeviceRows = field(default_factory=lambda: DeviceRows("cpu"))

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, indices: Int64[Tensor, " b"]
    ) -> tuple[Float32[Tensor, "b n d"], Int64[Tensor, " b"]]:
        """Return tokens [B, N, D] without a graph, and labels [B], on the backbone's device."""
        tokens = _tokens(self.embed, self.rows(self.inputs, indices))
        return tokens, self.rows(self.labels, indices)

    @property
    def arrays(self) -> tuple[Tensor, ...]:
        """The arrays of which `rows` reads rows."""
        masks = () if self.masks is None else (self.masks,)
        return (self.inputs, self.labels, self.features, *masks)

    def on(self, rows: DeviceRows) -> "Source":
        """Return this source with rows, and tokens by a copy of the embedder, on another device."""
        if rows.device.type == "cpu":
            return self
        assert isinstance(self.embed, SourceEmbedding)
        return replace(self, embed=self.embed.on(rows.device), rows=rows)

    def masks_of(self, indices: Int64[Tensor, " b"]) -> UInt8[Tensor, "b h w"]:
        """Return masks [B, h, w], beside the tokens: 0 background, 1 foreground, 255 ignored.

        Raises:
            ConfigError: The source has no masks.
        """
        if self.masks is None:
            dense = ", ".join(name for name, entry in PROXIES.items() if entry.dense)
            raise ConfigError(f"This source has no masks. Choose a dense proxy: {dense}.")
        return self.rows(self.masks, indices)


@dataclass(frozen=True, kw_only=True)
class Domains:
    """The two modalities of a trial. `source` is None if the method uses no source."""

    target: Task
    source: Source | None = None


def load_source(proxy: Proxy, backbone: Backbone, home: Path) -> Source:
    """Map the source from the cache in `home`, computing it first if needed.

    If the proxy has more than 5000 samples, 5000 are drawn at random, as evenly over the classes as
    possible.

    Raises:
        ConfigError: The proxy does not fit the backbone.
        DataError: No sample has a label.
    """
    if proxy.dimension != backbone.dimension:
        raise ConfigError(
            f"The proxy `{proxy.name}` is {proxy.dimension}, the backbone {backbone.dimension}: "
            "they must be of one dimension. Choose another proxy."
        )
    # The key covers all that the tensors depend on, so that a cached file is never out of date.
    made_from = [FORMAT, WINDOW, CHUNK, backbone.weights_hash, backbone.grid]
    made_from += [proxy.name, proxy.content_hash, LIMIT, SEED]
    made_from += ["shuffled labels"] if proxy.has_shuffled_labels else []
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    embed = _source_embedding(proxy, backbone)
    folder = home / "cache" / "source" / key
    tensors = DiskCache(folder)("source", lambda: _compute(proxy, backbone, embed))
    num_classes = (
        len(proxy.classes) if isinstance(proxy, TokenProxy) else int(proxy.labels.max()) + 1
    )
    return Source(
        inputs=tensors["inputs"],
        labels=tensors["labels"],
        features=tensors["features"],
        masks=tensors.get("masks"),
        num_classes=num_classes,
        content_hash=key,
        embed=embed,
        folder=folder,
    )


def class_balanced_batch(
    source: Source, *, classes: int, per_class: int, generator: torch.Generator
) -> tuple[Float[Tensor, "b n d"], Int64[Tensor, " b"]]:
    """Draw `per_class` different samples of each of `classes` random classes.

    `generator` is on the CPU.

    Returns:
        Tokens [classes * per_class, N, D] and labels [classes * per_class]. The samples of a class
        are adjacent.

    Raises:
        ConfigError: Fewer than `classes` classes have `per_class` samples or more.
    """
    check_balanced(source.labels, classes, per_class)
    fit = torch.nonzero(torch.bincount(source.labels) >= per_class).flatten()
    drawn = fit[torch.randperm(len(fit), generator=generator)[:classes]]
    indices = []
    for label in drawn:
        members = torch.nonzero(source.labels == label).flatten()
        indices.append(members[torch.randperm(len(members), generator=generator)[:per_class]])
    return source.batch(torch.cat(indices))


def source_indices(
    length: int, batch_size: int, generator: torch.Generator
) -> Iterator[Int64[Tensor, " b"]]:
    """Yield the indices of random batches without end.

    Each pass over the `length` samples has a new random order. The samples after the last whole
    batch of a pass are dropped. A batch larger than the source is drawn with replacement.

    Args:
        length: Number of samples of the source.
        batch_size: Number of indices in each batch.
        generator: Random generator on the CPU.

    Yields:
        int64 [batch_size].
    """
    while True:
        if batch_size > length:
            yield torch.randint(length, (batch_size,), generator=generator)
        else:
            order = torch.randperm(length, generator=generator)
            yield from torch.split(order[: length // batch_size * batch_size], batch_size)


def check_balanced(labels: Int64[Tensor, " n"], classes: int, per_class: int) -> None:
    """Check that class-balanced batches of this size can be drawn from `labels`.

    Args:
        labels: int64 [n], from 0.
        classes: Number of classes in a batch.
        per_class: Number of samples of each class in a batch.

    Raises:
        ConfigError: Fewer than `classes` classes have `per_class` samples or more.
    """
    counts = torch.bincount(labels)
    enough = int((counts >= per_class).sum())
    if enough < classes:
        raise ConfigError(
            f"A batch of {classes} classes with {per_class} samples each was asked of a source in "
            f"which {enough} classes have as many (samples by class: {counts.tolist()}). Lower "
            "`classes` or `per_class`, or choose another proxy."
        )


def balanced_order(
    labels: Int64[Tensor, " n"], *, generator: torch.Generator
) -> Int64[Tensor, " n"]:
    """Return a random order of all samples in which every prefix is as class-balanced as possible.

    Use it to choose a total number of samples, and `balanced_choice` for a number per class.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    # Rank each sample within its class in the shuffled order. Sorting by this rank interleaves the
    # classes: first one random sample of each class, then a second one, and so on.
    place = torch.empty_like(shuffled)
    for label in range(int(labels.max()) + 1):
        members = shuffled[labels[shuffled] == label]
        place[members] = torch.arange(len(members))
    return shuffled[place[shuffled].argsort(stable=True)]


def balanced_choice(labels: Int64[Tensor, " n"], per_class: int) -> Int64[Tensor, " chosen"]:
    """Return the sorted indices of at most `per_class` random samples of each class.

    The choice does not depend on the trial's seed, so that all trials use the same samples.
    """
    shuffled = torch.randperm(len(labels), generator=generator(SEED, "align-source"))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    sizes = torch.bincount(labels).tolist()
    heads = [members[:per_class] for members in torch.split(by_class, sizes)]
    return torch.cat(heads).sort().values


def _tokens(embed: Embed, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return embed(inputs)


@dataclass(frozen=True)
class SourceEmbedding:
    """Tokens of source inputs by the embedder of a backbone, on the embedder's device."""

    backbone: Backbone
    unit: tuple[Tensor, Tensor] | None  # mean and deviation of each colour, of images

    def __call__(self, inputs: Tensor) -> Tensor:
        device = next(self.backbone.source_embedder.parameters()).device
        inputs = inputs.to(device)
        with single_precision(device):
            if self.unit is not None:
                mean, std = self.unit
                inputs = (inputs / 255 - mean) / std
            return self.backbone.embed_source(inputs)

    def on(self, device: torch.device) -> "SourceEmbedding":
        """Return the same embedding on `device`."""
        unit = self.unit and (self.unit[0].to(device), self.unit[1].to(device))
        return SourceEmbedding(self.backbone.embedding_on(device), unit)


def _source_embedding(proxy: Proxy, backbone: Backbone) -> SourceEmbedding:
    if not isinstance(proxy, ImageProxy):
        return SourceEmbedding(backbone, None)
    mean, std = (
        torch.tensor(c, dtype=torch.float32).view(3, 1, 1) for c in (proxy.mean, proxy.std)
    )
    return SourceEmbedding(backbone, (mean, std))


def _compute(proxy: Proxy, backbone: Backbone, embed: Embed) -> dict[str, Tensor]:
    samples = _samples(proxy, backbone)
    order = balanced_order(samples["labels"], generator=generator(SEED, "source"))
    chosen = order[:LIMIT].sort().values
    samples = {name: tensor[chosen].contiguous() for name, tensor in samples.items()}
    # Labels are permuted after the choice, so that the control has the same samples as its source.
    if proxy.has_shuffled_labels:
        other = torch.randperm(len(chosen), generator=generator(SEED, "shuffled-labels"))
        samples["labels"] = samples["labels"][other]
    chunks = torch.split(samples["inputs"], CHUNK)
    return samples | {"features": torch.cat([_tokens(embed, c).mean(1).cpu() for c in chunks])}


def _samples(proxy: Proxy, backbone: Backbone) -> dict[str, Tensor]:
    """Return the inputs and labels of all samples, and the masks of a dense proxy."""
    if isinstance(proxy, ImageProxy):
        arrays = {"inputs": proxy.images, "labels": proxy.labels}
        arrays |= {} if proxy.masks is None else {"masks": proxy.masks}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    ids, word_index = backbone.tokenize(proxy.sentences)
    labels = label_subwords(proxy.labels, word_index, classes=proxy.classes)
    stream = np.fromiter((i for sentence in ids for i in sentence), dtype=np.int64)
    windows, of_window = cut_windows(stream, labels, length=WINDOW)
    if not len(windows):
        raise DataError(
            f"{proxy.name}: no window of {WINDOW} sub-words among {len(stream)} has a label. The "
            "proxy needs more labelled text."
        )
    return {"inputs": torch.from_numpy(windows), "labels": torch.from_numpy(of_window)}


def label_subwords(
    word_labels: Sequence[Sequence[int]],
    word_index: Sequence[Sequence[int]],
    *,
    classes: Sequence[str],
) -> np.ndarray:
    """Return the label of each sub-word of the concatenated sentences, int64 [sub-words].

    Args:
        word_labels: Label of each word, by sentence; -1: none.
        word_index: Index of the word of each sub-word, by sentence.
        classes: Names of the labels. `I-x` continues `B-x`; other labels continue themselves.
    """
    number = {name: index for index, name in enumerate(classes)}
    continued = [
        number.get(f"I-{name[2:]}", index) if name.startswith("B-") else index
        for index, name in enumerate(classes)
    ]
    labels = []
    for of_word, words in zip(word_labels, word_index, strict=True):
        before = -1
        for word in words:
            label = of_word[word]
            labels.append(continued[label] if word == before and label >= 0 else label)
            before = word
    return np.array(labels, dtype=np.int64)


def cut_windows(
    ids: np.ndarray, labels: np.ndarray, *, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut sub-words into labelled windows. Sub-words after the last whole window are dropped.

    Args:
        ids: int64 [sub-words].
        labels: int64 [sub-words]; -1: none.
        length: Number of sub-words in a window.

    Returns:
        Ids [windows, length] and labels [windows] of the windows that have a label.
    """
    whole = len(ids) // length * length
    windows, inside = ids[:whole].reshape(-1, length), labels[:whole].reshape(-1, length)
    num_classes = int(labels.max(initial=-1)) + 1
    # `np.stack` takes no empty list. Without a class, no window stays in the end.
    counts = np.stack([(inside == label).sum(1) for label in range(num_classes)] or [inside[:, 0]])
    labelled = (inside >= 0).any(1)
    return windows[labelled], counts.argmax(0)[labelled].astype(np.int64)
