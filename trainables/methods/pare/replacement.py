"""PaRe's patch replacement.

In a mixture the k target tokens with the lowest scores are replaced by the k source tokens with the
highest scores (Cai et al., ICML 2024). Losses and schedule are in `mixing`.

One scorer (`selection`) is used for both modalities. The first epochs explore: random subsets are
drawn by the scores. A mask of ones multiplies the remaining target tokens and the inserted source
tokens. It has the gradient of the draw, which trains the scorer with both modalities. In later
epochs the tokens are ranked without noise, and the scorer is not trained.

This code differs from the official code in three points, and a setting restores each of them. After
exploration the official code replaces the *highest* target tokens (`replaced`), it inserts source
tokens in the order of scores (`order`), and its draw takes k steps (`selector`). The official code
also changes the target's tokens in place; here mixtures are new tensors.

With the scorer `random` there are no scores: in each epoch every set of k tokens is as likely as
any other, in both modalities. All else is as with scores, so that the difference is their worth.
"""

import numpy as np
import torch
from torch import Tensor, nn

from trainables.errors import ConfigError
from trainables.methods.pare.config import ReplaceConfig
from trainables.methods.pare.mixing import (
    SCOPE,
    Mixing,
    MixtureObjective,
    source_of,
    source_tokens,
)
from trainables.methods.pare.mixtures import replace
from trainables.methods.pare.selection import (
    Subset,
    gumbel_noise,
    make_scorer,
    ranking,
    relaxed_subset,
    straight_through_subset,
)
from trainables.models.cross_modal import CrossModalModel
from trainables.seeding import generator
from trainables.sources.source import Domains
from trainables.tasks.store.device_rows import moved
from trainables.training.evaluation import evaluating, rows_at_once
from trainables.training.state import TrainState

SCORER = "scorer"  # key in the state's extras
MAX_ATTENDED = 1024  # largest number of tokens with full attention: 4 MiB a sample and pass
RANDOM = "random"  # scorer without scores
PROBED = 16  # target samples whose scores are reported; fewer if samples are large


class ReplacementObjective(MixtureObjective):
    """Loss on mixtures whose tokens are selected by scores."""

    def __init__(
        self, state: TrainState, domains: Domains, config: ReplaceConfig, epoch: int
    ) -> None:
        super().__init__(state, domains, config, epoch)
        self.config = config
        self.has_scores = config.scorer != RANDOM
        explores = epoch < config.explore_epochs and config.selector != "topk"
        self.explores = explores and self.has_scores
        self.inputs = domains.target.train.x
        # The replaced set when the epoch begins. `summary` compares it with that at the end.
        self.replaced_before = self._probe()[1] if self.k and self.has_scores else None

    def draws(self, samples: int) -> tuple[Tensor, ...]:
        if self.has_scores and not self.explores:
            return ()
        # Noise alone ranks tokens in any order with the same probability.
        return tuple(
            gumbel_noise((samples, tokens), self.rng)
            for tokens in (self.num_tokens, self.source_tokens)
        )

    def mix(self, target: Tensor, source: Tensor, *draws: Tensor) -> Tensor:
        keep = target.shape[1] - self.k
        if not self.has_scores:
            order, source_order = (ranking(moved(noise, target.device)) for noise in draws)
        elif self.explores:
            scorer = self.state.extras[SCORER]
            stays, comes = (
                self._explore(scorer(tokens), noise, k)
                for tokens, noise, k in zip((target, source), draws, (keep, self.k), strict=True)
            )
            # The masks are 1 for all tokens of the mixture, so that they change no value. They only
            # pass the gradient of the mixture's loss to the scores.
            target, source = target * stays.mask[..., None], source * comes.mask[..., None]
            order, source_order = stays.order, comes.order
        else:
            scorer = self.state.extras[SCORER]
            with torch.no_grad():
                order, source_order = ranking(scorer(target)), ranking(scorer(source))
        places, chosen = self._places(order), source_order[:, : self.k]
        if self.config.order == "raster":
            places, chosen = places.sort(dim=1).values, chosen.sort(dim=1).values
        return replace(target, source, places=places, chosen=chosen)

    def _explore(self, scores: Tensor, noise: Tensor, k: int) -> Subset:
        exact = self.config.selector == "gumbel_topk_st"
        draw = straight_through_subset if exact else relaxed_subset
        return draw(scores + moved(noise, scores.device), k, temperature=self.config.temperature)

    def _places(self, order: Tensor) -> Tensor:
        """Return the replaced target tokens [B, k], from the lowest score to the highest."""
        if self.config.replaced == "highest" and not self.explores:
            return order[:, : self.k].flip(1)
        return order[:, order.shape[1] - self.k :].flip(1)

    @torch.no_grad()
    def _probe(self) -> tuple[Tensor, Tensor]:
        """Score a fixed set of target samples.

        Returns:
            The scores [n, N], and a mask [n, N] of the tokens that ranking without noise would
            replace.
        """
        model = self.state.model
        probed = min(PROBED, len(self.inputs), rows_at_once(self.inputs))
        x = self.state.rows(self.inputs, np.arange(probed))
        with evaluating(model):
            tokens = model.embed(x)
        scores: Tensor = self.state.extras[SCORER](tokens)
        return scores, torch.zeros_like(scores).scatter(1, self._places(ranking(scores)), 1.0)

    def summary(self) -> dict[str, float]:
        numbers = super().summary()
        if self.replaced_before is None:
            return numbers
        scores, replaced = self._probe()
        shares = scores.softmax(dim=1)
        return numbers | {
            "score_mean": scores.mean().item(),
            "score_std": scores.std(correction=0).item(),
            "score_entropy": torch.special.entr(shares).sum(dim=1).mean().item(),
            "overlap": (replaced * self.replaced_before).sum().item() / replaced.sum().item(),
        }


class Replacement(Mixing[ReplaceConfig]):
    """Stage of fine-tuning with patch replacement."""

    def objective(self, state: TrainState, domains: Domains, epoch: int) -> MixtureObjective:
        return ReplacementObjective(state, domains, self.config, epoch)

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        super().check(model, domains)
        if not self.config.mixes or self.config.scorer != "attn_received":
            return
        tokens = max(model.num_tokens, source_tokens(source_of(domains)))
        if tokens > MAX_ATTENDED:
            raise ConfigError(
                f"{self.name}.scorer attn_received computes attention for all pairs of {tokens} "
                f"tokens, which needs {4 * tokens**2 / 1e6:.0f} MB a sample. It supports at most "
                f"{MAX_ATTENDED} tokens: choose attn_window or attn_query."
            )

    def extras(self, model: CrossModalModel, domains: Domains, seed: int) -> dict[str, nn.Module]:
        extras, config = super().extras(model, domains, seed), self.config
        if config.mixes and config.scorer != RANDOM:
            extras[SCORER] = make_scorer(
                config.scorer,
                model.token_width,
                hidden=config.scorer_width,
                window=config.window,
                grid=model.grid,
                generator=generator(seed, SCOPE, "scorer"),
            )
        return extras
