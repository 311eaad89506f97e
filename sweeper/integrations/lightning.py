"""A callback of Lightning's Trainer."""

from typing import Any

from sweeper.integrations import importing
from trainables.runtime.programs.function import Trial
from trainables.seeding import seed_globals

with importing("lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer


class ReportEpochs(Callback):
    """Reports of each epoch's logged metrics, and checkpoints for `fit(ckpt_path=...)`."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._ended, self._written = dict[str, Any](), dict[str, Any]()  # states of loops

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ended = trainer.fit_loop.state_dict()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Schedulers step after the end of an epoch, from which alone loops go on.
        if self._ended:
            self._written = self._ended
            trainer.save_checkpoint(path := self._trial.folder / "epoch.ckpt")
            self._written = {}
            self._trial.save(path)
            self.on_train_end(trainer, pl_module)
        seed_globals(self._trial.seed, "epoch", trainer.current_epoch)
        if trainer.current_epoch and not self._ended:
            iter(trainer.train_dataloader)  # draws a number, as at the start of other epochs

    def on_save_checkpoint(self, trainer: Trainer, *others: Any) -> None:
        if self._written:
            others[-1]["loops"]["fit_loop"] = self._written

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trial.report(trainer.current_epoch, trainer.callback_metrics)
