"""Settings of stages by `stage.parameter`: another value of each, and one value for all stages."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from tests.support.tiny_trials import LEARNING
from trainables.methods.registry import METHODS

# Another value of each setting. One that acts only beside others is given with these.
EXPLORING = {"replace.k0": 0.5}
SETTLED = {"replace.k0": 0.5, "replace.explore_epochs": 0}
JOINT = {"align.joint": 1.0}
UNTUNED = {"tune.epochs": 0}  # else the best candidate has these settings
MIXED: Mapping[str, tuple[Any, Mapping[str, Any]]] = {  # of every stage of fine-tuning on mixtures
    "k0": (0.5, {}),
    "k_end": (1.0, {}),
    "k_schedule": ("constant", {}),
    "lambda_mode": ("k_over_n", {"k0": 0.5}),
    "lambda": (0.1, {"lambda_mode": "fixed"}),
    "gamma": (0.1, {}),
}
FINE_TUNED: Mapping[str, tuple[Any, Mapping[str, Any]]] = {  # of every stage of fine-tuning
    "epochs": (3, {}),
    "optimizer": ("sgd", {}),
    "lr": (2e-3, {}),
    "weight_decay": (0.5, {}),
    "momentum": (0.5, {"optimizer": "sgd"}),  # Adam has its own
    "batch_size": (4, {}),
    "accumulation": (2, {}),
    "warmup_epochs": (0.5, {}),
    "decay_epochs": (1.5, {}),
    "clip_norm": (1e-3, {}),
    "finetune": ("layernorm", {}),
    "lora_rank": (2, {"finetune": "lora"}),
    "lora_alpha": (64.0, {"finetune": "lora"}),
    "freeze": ("embedder", {}),
}


def of_stage(stage: str, others: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> dict[str, Any]:
    return {
        f"{stage}.{name}": (value, {f"{stage}.{key}": v for key, v in beside.items()})
        for name, (value, beside) in others.items()
    }


OTHERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    **of_stage("refine", FINE_TUNED),
    "refine.modes": (2, {}),
    "refine.norm": ("none", {}),
    "refine.latents": (4, {}),
    "refine.latent_width": (16, {}),
    "refine.blocks": (1, {}),
    "refine.block_layers": (1, {}),
    "refine.bands": (2, {}),
    "refine.width": (8, {}),
    "refine.layers": (5, {}),
    **of_stage("mix", {**FINE_TUNED, **MIXED}),
    **of_stage("replace", {**FINE_TUNED, **MIXED}),
    "meta.epochs": (1, {}),
    "meta.alpha": (0.5, {}),
    "meta.beta": (1e-2, {}),
    "meta.lambda": (10.0, {}),
    "meta.meta_grad": ("exact", {}),
    "meta.inner_params": ("attention", {}),
    "meta.inner_steps": (3, {"meta.meta_grad": "exact"}),
    "meta.optimizer": ("sgd", {}),
    "meta.weight_decay": (0.5, {}),
    "meta.batch_size": (4, {}),
    "meta.classes": (2, {}),
    "meta.per_class": (3, {}),
    "meta.head_update": ("frozen", {}),
    "meta.clip_norm": (1e-3, {}),
    "align.epochs": (1, {}),
    "align.clusters": (2, {}),
    "align.distance": ("mmd", {}),
    "align.class_mode": ("joint", {}),
    "align.update_mode": ("minibatch", {}),
    "align.max_samples": (2, {}),
    "align.source_per_class": (4, {}),
    "align.align_weight": (0.5, {"align.task_weight": 1.0}),
    "align.task_weight": (1.0, {}),
    "align.optimizer": ("sgd", {}),
    "align.lr": (2e-3, {}),
    "align.lr_steps": ((0,), {}),
    "align.lr_factor": (0.5, {"align.lr_steps": (0,)}),
    "align.weight_decay": (0.5, {}),
    "align.momentum": (0.5, {"align.optimizer": "sgd"}),
    "align.clip_norm": (1e-3, {}),
    "align.solver": ("sinkhorn", {"align.source_per_class": 5}),
    "align.entreg": (1.0, {"align.solver": "sinkhorn", "align.source_per_class": 5}),
    "align.label_weight": (0.0, {}),
    "align.detach_label_term": (True, {}),
    "align.shrinkage": (0.5, {"align.distance": "otdd_gaussian"}),
    "align.mmd_kernel": ("imq", {"align.distance": "mmd"}),
    "align.mmd_bandwidth": ("median", {"align.distance": "mmd"}),
    "align.mmd_bandwidth_scale": (2.0, {"align.distance": "mmd"}),
    "align.mmd_kernels": (2, {"align.distance": "mmd"}),
    "align.mmd_unbiased": (True, {"align.distance": "mmd"}),
    "align.euclidean": ("pairs", {"align.distance": "euclidean"}),
    "align.joint": (1.0, {}),
    "align.form": ("entropy", JOINT),
    "align.head_epochs": (3, JOINT),
    "align.head_lr": (1e-3, JOINT),
    "align.tau": (0.0, JOINT),
    "align.rho": (0.0, {**JOINT, "align.tau": 0.0}),
    "match.epochs": (1, {}),
    "match.optimizer": ("sgd", {}),
    "match.lr": (2e-3, {}),
    "match.weight_decay": (0.5, {}),
    "match.momentum": (0.5, {"match.optimizer": "sgd"}),
    "match.clip_norm": (1e-3, {}),
    "match.form": ("information", {}),
    "match.clusters": (2, {}),
    "match.max_samples": (4, {}),
    "match.source_per_class": (2, {}),
    "match.head_epochs": (3, {}),
    "match.head_lr": (1e-3, {}),
    "match.tau": (0.0, {}),
    "match.rho": (0.0, {"match.tau": 0.0}),
    "warmup.epochs": (1, {}),
    "warmup.optimizer": ("sgd", {}),
    "warmup.lr": (2e-3, {}),
    "warmup.weight_decay": (0.5, {}),
    "warmup.momentum": (0.5, {"warmup.optimizer": "sgd"}),
    "warmup.batch_size": (4, {}),
    "warmup.clip_norm": (1e-3, {}),
    "replace.scorer": ("gate_mlp", SETTLED),
    "replace.scorer_width": (8, {**SETTLED, "replace.scorer": "attn_query"}),
    "replace.window": (2, {**SETTLED, "replace.scorer": "attn_window"}),
    "replace.selector": ("topk", EXPLORING),
    "replace.explore_epochs": (1, EXPLORING),
    "replace.temperature": (
        0.05,
        {**EXPLORING, "replace.scorer": "attn_query", "replace.lr": 0.03},
    ),
    "replace.replaced": ("highest", SETTLED),
    "replace.order": ("rank", SETTLED),
    "contrast.epochs": (1, {}),
    "contrast.optimizer": ("sgd", {}),
    "contrast.lr": (2e-3, {}),
    "contrast.weight_decay": (0.5, {}),
    "contrast.momentum": (0.5, {"contrast.optimizer": "sgd"}),
    "contrast.clip_norm": (1e-3, {}),
    "contrast.classes": (2, {}),
    "contrast.per_class": (3, {}),
    "contrast.clusters": (2, {}),
    "contrast.num_scales": (2, {}),
    "contrast.sigma_min": (0.1, {}),
    "contrast.sigma_max": (0.1, {}),
    "contrast.noise_steps": (2, {}),
    "contrast.include_clean": (True, {}),
    "contrast.noise_space": ("tokens", {}),
    "contrast.form": ("align_uniform", {}),
    "contrast.temperature": (0.5, {}),
    "contrast.label_correlation": ("none", {"contrast.lambda_mean": 3.0}),
    "contrast.lambda_mean": (3.0, {}),
    "contrast.lambda_max": (3.5, {"contrast.lambda_mean": 3.0}),
    "contrast.epsilon": (0.5, {"contrast.lambda_mean": 3.0}),
    "contrast.include_source": (True, {}),
    **of_stage(
        "search",
        {
            "epochs": (1, {}),
            "sizes": ((3, 7), {}),
            "dilations": ((1, 2), {}),
            "width": (2, {}),
            "depth": (16, {}),
            "separable": (False, {}),
            "relaxation": ("softmax", {}),
            "temperature": (0.5, {}),
            "share": (1.0, {}),
            "batch_size": (4, {}),
            "lr": (2e-3, {}),
            "arch_lr": (0.5, {}),
            "lr_steps": ((0,), {}),
            "lr_factor": (0.5, {"lr_steps": (0,)}),
            "momentum": (0.5, {}),
            "weight_decay": (0.5, {}),
            "clip_norm": (1e-3, {}),
            "grad_scale": (10.0, {}),
            "field_penalty": (0.1, {}),
        },
    ),
    **of_stage(
        "tune",
        {
            "epochs": (1, {}),
            "lrs": ((0.05,), {"epochs": 1}),
            "dropouts": ((0.3,), {}),
            "weight_decays": ((0.1,), {"epochs": 1}),
            "momenta": ((0.5,), {"epochs": 1}),
            "passes": (2, {}),
            "batch_size": (4, {}),
            "share": (1.0, {}),
            "lr_steps": ((0,), {"passes": 2}),
            "lr_factor": (0.5, {"lr_steps": (0,), "passes": 2}),
        },
    ),
    **of_stage("train", {name: FINE_TUNED[name] for name in ("epochs", "batch_size",
                                                             "accumulation", "clip_norm")}),
    "train.optimizer": ("adamw", {}),
    "train.lr": (2e-3, UNTUNED),
    "train.weight_decay": (0.5, UNTUNED),
    "train.momentum": (0.5, UNTUNED),
    "train.dropout": (0.3, UNTUNED),
    "train.schedule": ("linear", {}),
    "train.warmup_epochs": (0.5, {"train.schedule": "linear"}),
    "train.decay_epochs": (1.5, {"train.schedule": "linear"}),
    "train.lr_steps": ((0,), {}),
    "train.lr_factor": (0.5, {"train.lr_steps": (0,)}),
    "train.width": (2, {}),
}  # fmt: skip
CHOOSING = ("search", "tune")  # stages whose result is a choice, which a setting need not change
RECORDED = {  # settings that change what is recorded, and nothing else: a name each brings
    "measure": ({"measure": 8}, "mmd"),
    "probe_every": ({"probe_every": 1}, "probe_error"),
    "landscape": ({"landscape": 7}, "landscape/curvature"),
}
SETTINGS = [
    (method.name, f"{stage}.{field.alias or name}")
    for method in map(METHODS.__getitem__, LEARNING)
    for stage, config in method.stages.items()
    for name, field in config.model_fields.items()
    if len(get_args(field.annotation)) != 1  # a literal of one value
    and (config.needs_backbone or not name.startswith("lora"))
]


def once_a_stage(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the settings of each stage in the first of the methods that share it."""
    found: dict[tuple[str, type, str], tuple[str, str]] = {}
    for method, setting in pairs:
        stage, _, name = setting.partition(".")
        config = METHODS[method].stages[stage]
        found.setdefault((config.implementation, config, name), (method, setting))
    return list(found.values())


def of_each_stage(method: str, **settings: Any) -> dict[str, Any]:
    """Return these settings by `stage.parameter`, for each stage of the method that has them."""
    return {
        f"{stage}.{name}": value
        for stage, config in METHODS[method].stages.items()
        for name, value in settings.items()
        if name in config.model_fields
    }
