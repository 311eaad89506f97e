"""The model card of an exported model: a README.md for people. Loads no torch."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from trainables.methods.registry import METHODS
from trainables.models.origin import ModelOrigin
from trainables.runtime.model_task import ModelTask
from trainables.spec import BackboneSpec

__all__ = ["model_card"]

LICENCES: Mapping[str, str] = MappingProxyType(  # of named weights, as their sources state them
    {
        "roberta_base": "MIT",
        "minilm": "Apache-2.0",
        "swin_base": "Apache-2.0",
        "dinov2_small": "Apache-2.0",
    }
)
OUTPUTS = {
    "classification": "probabilities of the classes, float64 {shape}",
    "multilabel": "a probability of each label, float64 {shape}",
    "dense": "fields in the unit of the data, float32 {shape}",
    "regression": "vectors in the unit of the data, float32 {shape}",
}
MANY_CLASSES = 20


def model_card(
    origin: ModelOrigin,
    task: ModelTask,
    *,
    sweep: str,
    trial: str,
    metrics: Mapping[str, float],
    versions: Mapping[str, str],
) -> str:
    """Return the card of a model in Markdown.

    Args:
        origin: The trial, and its network.
        task: Facts about its task.
        sweep, trial: Names of the sweep and of the trial.
        metrics: Metrics of the trial, by their names in reports.
        versions: Versions of the libraries that wrote the model.
    """
    return "\n".join(_lines(origin, task, sweep, trial, metrics, versions)) + "\n"


def _lines(
    origin: ModelOrigin,
    task: ModelTask,
    sweep: str,
    trial: str,
    metrics: Mapping[str, float],
    versions: Mapping[str, str],
) -> Iterator[str]:
    spec = origin.spec
    method = METHODS.get(spec.method)
    title = spec.method if method is None else method.title
    yield f"# {task.title} by {title}"
    yield ""
    how = title if spec.backbone is None else f"cross-modal fine-tuning ({title})"
    yield f"A network that `sweeper` trained on `{task.name}` by {how}."
    yield ""
    yield "## Use"
    yield "```python"
    yield "import sweeper"
    yield ""
    yield 'model = sweeper.load_model("FOLDER")  # a torch module in evaluation mode'
    yield f"y = model.predict(x)  # x: raw inputs [n, {', '.join(map(str, task.input_shape))}]"
    yield "```"
    yield "or `sweeper predict FOLDER INPUT -o OUT`. The model normalises its inputs itself."
    shape = f"[n, {', '.join(map(str, task.output_shape))}]"
    outputs = OUTPUTS[task.kind].format(shape=shape)
    if task.mask == "ignored":
        outputs = f"a probability of each point, float64 {shape}"
    yield f"Outputs are {outputs}."
    if task.classes:
        names = ", ".join(f"`{name}`" for name in task.classes[:MANY_CLASSES])
        rest = len(task.classes) - MANY_CLASSES
        yield f"Classes: {names}{f' and {rest} more' if rest > 0 else ''}."
    yield ""
    yield "## Task and data"
    yield f"- Task: `{task.name}`, {task.kind}, {task.dimension}; data: {task.data_source}"
    yield f"- Hash of the data: `{task.content_hash}`"
    yield f"- Protocol: {task.protocol}"
    yield f"- Licence of the data: {task.licence}"
    yield f"- Citation of the data: {task.citation or 'not stated'}"
    yield ""
    yield "## Results"
    yield f"Lower is better. The task's metric is `{task.metric}`."
    yield ""
    yield "| metric | value |"
    yield "|---|--:|"
    yield from (f"| `{name}` | {value:.6g} |" for name, value in metrics.items())
    yield ""
    yield "## Training"
    yield f"- Method: {title}{f' ({method.citation})' if method is not None else ''}"
    yield f"- Sweep and trial: {_code(sweep)}, {_code(trial)}; seed {spec.seed}"
    if spec.backbone is None:
        yield f"- Network: {title}, from random weights"
    else:
        first = spec.backbone.pretrained_layers
        of = "" if first is None else f" in the first {first} layers, others random"
        yield f"- Backbone: `{spec.backbone.name}` ({spec.backbone.weights} weights{of})"
        yield f"- Hash of the pretrained weights: `{origin.weights_hash}`"
        yield f"- Licence of the pretrained weights: {_licence(spec.backbone)}"
    if spec.proxy is not None:
        yield f"- Source data: `{spec.proxy}`"
    yield ""
    yield "Settings:"
    yield "```json"
    settings: dict[str, Any] = {"model": spec.model.model_dump(mode="json"), **spec.stages}
    yield json.dumps(settings, indent=1, default=str)
    yield "```"
    yield ""
    yield "## Versions"
    yield ", ".join(f"{name} {number}" for name, number in versions.items())


def _code(text: str) -> str:
    return f"`{text}`" if text else "not stated"


def _licence(backbone: BackboneSpec) -> str:
    if backbone.weights == "random":
        return "none, since the body began from random weights"
    return LICENCES.get(backbone.name, "as the source of these weights states it")
