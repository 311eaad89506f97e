"""The program of a process that trains beside the first one of a trial.

    python -m trainables.runtime.ranks.worker RANK RANKS RENDEZVOUS

It reads messages from standard input and answers on standard output (`messages`); all other output
goes to standard error. It ends with its input, also in the middle of an exchange.
"""

import faulthandler
import os
import queue
import shutil
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from trainables.models.cross_modal import float32_products
from trainables.runtime.checkpoints import join_optimizer
from trainables.runtime.device import device_for, release
from trainables.runtime.memory import count_anew
from trainables.runtime.ranks.group import PeerLost, SeveralRanks, broadcast, join, state_tensors
from trainables.runtime.ranks.messages import (
    Begin,
    Begun,
    Broken,
    End,
    Message,
    Train,
    parse,
    to_line,
)
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.seeding import seed_globals
from trainables.spec import TrialSpec
from trainables.stages.fine_tuning import SCOPE, FineTuning

BROKEN = 1  # exit code


class Worker:
    """One process beside the first one of a trial.

    Args:
        rank: Its rank.
        ranks: Number of processes.
        rendezvous: File in which the processes find each other.
        out: Stream for answers.
    """

    def __init__(self, rank: int, ranks: int, rendezvous: Path, out: BinaryIO) -> None:
        self._rank, self._ranks, self._rendezvous, self._out = rank, ranks, rendezvous, out
        self._parts = WarmParts()
        self._has_joined = False
        self._training: Training | None = None
        self._stage: FineTuning[Any] | None = None
        self._parameters: list[nn.Parameter] = []

    def handle(self, message: Message) -> None:
        """Do what a message asks for."""
        match message:
            case Begin():
                self._begin(message)
            case Train():
                self._train(message)
            case End():
                self._end()

    def answer(self, message: Message) -> None:
        """Write a message to the first process."""
        self._out.write(to_line(message))
        self._out.flush()

    def _begin(self, begin: Begin) -> None:
        self._end()
        torch.set_num_threads(begin.threads)
        device = device_for(begin.gpu)
        count_anew(device.type == "cuda")
        spec = TrialSpec.model_validate(begin.spec)
        self._training = Training.begin(spec, self._parts, device=device, gpu=begin.gpu)
        self._training.state.ranks = SeveralRanks()
        # The first process joins once it has this answer, and `join` waits for the first process.
        self.answer(Begun())
        if not self._has_joined:
            join(self._rank, self._ranks, device, self._rendezvous)
            self._has_joined = True

    def _train(self, order: Train) -> None:
        training = self._training
        assert training is not None
        state, domains = training.state, training.domains
        # Optimiser and trained parameters belong to a stage, and are made once for its epochs.
        if self._stage is None or order.stage != state.stage:
            state.begin_stage(order.stage)
            stage = training.stages[order.stage]
            assert isinstance(stage, FineTuning)
            self._stage, self._parameters = stage, stage.prepare(state)
        state.epoch = order.epoch
        # The first process may go on from a checkpoint of another precision than `auto` gives here.
        state.use_precision(order.precision)
        self._receive(training, order)
        # As in the first process, but for its evaluations and records.
        with float32_products(tf32=False):
            seed_globals(state.seed, SCOPE, order.epoch)
            objective = self._stage.objective(state, domains, order.epoch)
            with state.supervised_products():
                self._stage.train_epoch(
                    state, domains.target, self._parameters, objective, order.epoch
                )

    def _receive(self, training: Training, order: Train) -> None:
        """Take over the state of the first process."""
        state = training.state
        broadcast(state_tensors(state), state.device)
        moments = {
            name: torch.empty(order.shapes[name], dtype=getattr(torch, dtype), device=state.device)
            for name, dtype in order.dtypes.items()
        }
        broadcast(moments.values(), state.device)
        assert state.optimizer is not None
        state.optimizer.load_state_dict(join_optimizer(moments, dict(order.optimizer)))

    def _end(self) -> None:
        self._training = self._stage = None
        self._parameters = []
        release()


def main() -> None:
    """Run a process until its input ends."""
    rank, ranks, rendezvous = sys.argv[1:]
    # Answers get a descriptor of their own before 1 is turned to standard error.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides about the end
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    listening = (messages, Path(rendezvous).parent)
    threading.Thread(target=_listen, args=listening, name="messages", daemon=True).start()
    worker = Worker(int(rank), int(ranks), Path(rendezvous), out)
    try:
        while True:
            worker.handle(messages.get())
    except Exception as error:
        worker.answer(
            Broken(
                error=type(error).__name__,
                reason=str(error),
                traceback="".join(traceback.format_exception(error)),
                by_others=isinstance(error, PeerLost),
            )
        )
        os._exit(BROKEN)  # an orderly end might wait for an exchange


def _listen(messages: "queue.SimpleQueue[Message]", folder: Path) -> None:
    """Pass messages on. End the process with its input: the first process has died.

    Args:
        messages: Queue of the messages.
        folder: Folder of the first process, which is deleted in its place.
    """
    for line in sys.stdin.buffer:
        messages.put(parse(line))
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
