"""Fine-tuning on target samples and on mixtures of target and source samples.

    L = L_target(t) + gamma [(1 - lambda) L_target(m) + lambda L_source(m)]

t are the target tokens. m is a mixture: k of its N tokens are those of a source sample. L_source is
the loss of a separate head that predicts the source's label or mask. k decreases from epoch to
epoch (`mixtures`). Cai et al., "Enhancing Cross-modal Fine-Tuning with Gradually Intermediate
Modality Generation", ICML 2024.

This module has the two mixtures without scores, which are the controls of PaRe (`replacement`):

    mixup    (1 - k/n) t + (k/n) s on n tokens, the number of tokens of the shorter sample
    cutmix   k neighbouring tokens of s: a segment, or in 2D a rectangle of nearly k tokens

If k or gamma is 0, the stage reads no source, draws nothing and mixes nothing: it is vanilla
fine-tuning.
"""

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from torch import Tensor, nn

from trainables.errors import ConfigError
from trainables.methods.pare.config import CutmixConfig, MixConfig, MixupConfig
from trainables.methods.pare.mixtures import (
    Region,
    blend,
    count_tokens,
    random_rectangles,
    random_stretches,
    rectangle_of,
    source_weight,
    tokens_at,
)
from trainables.methods.pare.source_heads import LabelHead, MaskHead
from trainables.models.cross_modal import CrossModalModel
from trainables.seeding import generator
from trainables.sources.source import Domains, Source, source_indices
from trainables.stages.fine_tuning import LOSS, FineTuning, Objective
from trainables.training.state import TrainState

SCOPE = "mixing"  # seed scope of all kinds of mixtures
HEAD = "source_head"  # key in the state's extras

M = TypeVar("M", bound=MixConfig)


class MixtureObjective(Objective, ABC):
    """Loss of one epoch's micro-batches and of the mixtures that are made from them."""

    def __init__(self, state: TrainState, domains: Domains, config: MixConfig, epoch: int) -> None:
        super().__init__(state, domains)
        self.gamma = config.gamma
        self.num_tokens = state.model.num_tokens
        self.planned, self.k, self.weight = 0, 0, 0.0
        if not config.mixes:
            return
        self.source = source_of(domains)
        self.source_tokens = source_tokens(self.source)
        self.most = min(self.num_tokens, self.source_tokens)
        self.rng = generator(state.seed, SCOPE, epoch)
        size = min(config.batch_size, len(domains.target.train))
        self.batches = source_indices(
            len(self.source), size, generator(state.seed, SCOPE, "source", epoch)
        )
        first = count_tokens(config.k0, self.most)
        self.planned = tokens_at(
            epoch,
            config.epochs,
            first=first,
            end_share=config.k_end,
            schedule=config.k_schedule,
        )
        if self.planned == 0:
            return
        self.k = self.realised(self.planned)
        self.weight = source_weight(
            config.lambda_mode,
            k=self.k,
            first=first,
            num_tokens=self.num_tokens,
            fixed=config.lambda_,
        )

    def realised(self, k: int) -> int:
        """Return the number of source tokens, at most `k`, that a mixture can have."""
        return k

    @abstractmethod
    def draws(self, samples: int) -> tuple[Tensor, ...]:
        """Draw the random numbers of the mixtures of `samples` samples, one row for each."""

    @abstractmethod
    def mix(self, target: Tensor, source: Tensor, *draws: Tensor) -> Tensor:
        """Return the mixtures of target and source tokens.

        Args:
            target: Target tokens [B, N, D], float32.
            source: Source tokens [B, N_s, D], float32.
            draws: Random numbers of these samples, as `draws` returned them.

        Returns:
            Mixtures [B, N, D].
        """

    def draw(self, samples: int) -> None:
        if self.k:
            # One batch of the source for each micro-batch, of which a short one takes the head.
            self.drawn = next(self.batches)[:samples]
            self.mixture_draws = self.draws(samples)

    def __call__(self, x: Tensor, y: Tensor, part: slice) -> dict[str, Tensor]:
        if self.k == 0:
            clean = self.clean_loss(x, y)
            return {LOSS: clean, "clean_loss": clean}
        model, head = self.state.model, self.state.extras[HEAD]
        assert isinstance(head, LabelHead | MaskHead)
        source, answers, whole = self._read(part, masks=isinstance(head, MaskHead))
        target = model.embed(x)
        # Draws are of the whole micro-batch, and a part takes its rows: the mixtures do not depend
        # on halvings.
        mixture = self.mix(target, source, *(draw[part] for draw in self.mixture_draws))
        with self.state.supervised():
            features = model.encode(torch.cat([target, mixture]))
            predictions, told = model.predict(features), head(features[len(x) :])
        # Clean samples and mixtures passed through the body in one batch: the first half is clean.
        clean, mix_target = (self.loss(each, y) for each in predictions.float().chunk(2))
        mix_source = head.loss(told.float(), answers, whole)
        mixed_loss = (1 - self.weight) * mix_target + self.weight * mix_source
        return {
            LOSS: clean + self.gamma * mixed_loss,
            "clean_loss": clean,
            "mix_target_loss": mix_target,
            "mix_source_loss": mix_source,
        }

    def _read(self, part: slice, *, masks: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return the part's source tokens and targets (labels or masks), and all drawn targets."""
        tokens, _ = self.source.batch(self.drawn[part])
        source = self.source
        whole = source.masks_of(self.drawn) if masks else source.rows(source.labels, self.drawn)
        return tokens, whole[part], whole

    def summary(self) -> dict[str, float]:
        return {
            "k": float(self.k),
            "lambda": self.weight,
            "mix_fraction": self.k / self.num_tokens,
        }


class Mixing(FineTuning[M], ABC):
    """Base of fine-tuning stages whose objective includes mixtures."""

    @abstractmethod
    def objective(self, state: TrainState, domains: Domains, epoch: int) -> MixtureObjective:
        """Return the objective of this epoch, with the stage's own kind of mixtures."""

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        super().check(model, domains)
        config = self.config
        if not config.mixes:
            return
        if domains.source is None:
            raise ConfigError(
                f"{self.name}: mixtures are made with a labelled source, but the trial has no "
                f"proxy. Name one under `proxies`, or set {self.name}.k0 to 0."
            )
        most = most_replaced(model, domains.source)
        if count_tokens(config.k0, most) > most:
            raise ConfigError(
                f"{self.name}.k0 is {config.k0}, but a mixture has at most {most} source tokens "
                f"here: a target sample has {model.num_tokens}, a source sample "
                f"{source_tokens(domains.source)}. Lower it, or give a share of them: a decimal "
                "number, at most 1.0."
            )

    def extras(self, model: CrossModalModel, domains: Domains, seed: int) -> dict[str, nn.Module]:
        if not self.config.mixes:
            return {}
        source, draws = source_of(domains), generator(seed, SCOPE, "head")
        dense = domains.target.info.kind == "dense"
        if dense and source.masks is not None and model.feature_grid is not None:
            height, width = source.masks.shape[1:]
            return {
                HEAD: MaskHead(
                    model.feature_width, model.feature_grid, (height, width), generator=draws
                )
            }
        return {HEAD: LabelHead(model.feature_width, source.num_classes, generator=draws)}


class MixupObjective(MixtureObjective):
    """Mixtures that are weighted means over all tokens, or as many as a shorter source has."""

    def draws(self, samples: int) -> Region:
        return random_stretches(
            self.most,
            targets=self.num_tokens,
            sources=self.source_tokens,
            batch=samples,
            generator=self.rng,
        )

    def mix(self, target: Tensor, source: Tensor, *draws: Tensor) -> Tensor:
        return blend(target, source, Region(*draws), weight=self.k / self.most)


class Mixup(Mixing[MixupConfig]):
    """Stage of Mixup between modalities."""

    def objective(self, state: TrainState, domains: Domains, epoch: int) -> MixtureObjective:
        return MixupObjective(state, domains, self.config, epoch)


class CutmixObjective(MixtureObjective):
    """Mixtures with a source segment (1D) or rectangle (2D) at a random place."""

    def realised(self, k: int) -> int:
        grid = self.state.model.grid
        if grid is None:
            return k
        # lambda follows k, and k must be what a whole rectangle holds, not what was planned.
        height, width = rectangle_of(k, grid)
        return height * width

    def draws(self, samples: int) -> Region:
        grid = self.state.model.grid
        if grid is None:
            return random_stretches(
                self.k,
                targets=self.num_tokens,
                sources=self.source_tokens,
                batch=samples,
                generator=self.rng,
            )
        size = rectangle_of(self.planned, grid)
        return random_rectangles(size, grid=grid, batch=samples, generator=self.rng)

    def mix(self, target: Tensor, source: Tensor, *draws: Tensor) -> Tensor:
        return blend(target, source, Region(*draws))


class Cutmix(Mixing[CutmixConfig]):
    """Stage of CutMix between modalities."""

    def objective(self, state: TrainState, domains: Domains, epoch: int) -> MixtureObjective:
        return CutmixObjective(state, domains, self.config, epoch)


def source_of(domains: Domains) -> Source:
    """Return the source. `Mixing.check` guarantees that there is one."""
    assert domains.source is not None
    return domains.source


def source_tokens(source: Source) -> int:
    """Return the number of tokens of a source sample."""
    # All samples of a source have the same number of tokens, so that the first one tells it.
    tokens, _ = source.batch(torch.zeros(1, dtype=torch.int64))
    return tokens.shape[1]


def most_replaced(model: CrossModalModel, source: Source) -> int:
    """Return the largest number of source tokens in a mixture."""
    return min(model.num_tokens, source_tokens(source))
