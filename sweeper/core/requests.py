"""Requests of users about single trials: which are obeyed, and why another one is refused.

Each is a row of the ledger, which whoever holds the sweep's lease obeys or refuses: the runner, or
the command itself where no driver runs. What follows from a request and the answer to it are one
transaction, so that it is obeyed once, whatever dies in between. A trial that is to stop ends after
its next epoch, and one that is to be skipped ends when it would begin. Until then the request is
accepted: another driver reads it again.
"""

from collections.abc import Mapping

from sweeper.core.replication import next_number
from sweeper.ledger import Answer, Ledger, Request, RequestKind, RequestState
from sweeper.model import SKIPPED, STOPPED, Outcome, Trial, TrialKind, TrialState, trial_name

LATER = {  # kind of a request that is accepted first -> what will happen
    RequestKind.STOP_TRIAL: "ends after its next epoch",
    RequestKind.SKIP_TRIAL: "will not begin",
}


def objection(request: Request, trials: Mapping[int, Trial], num_trials: int) -> str | None:
    """Return the reason to refuse a request about a trial, or None.

    Args:
        request: The request.
        trials: The trials of its study, by number.
        num_trials: The number of trials that the study's search is to have.
    """
    if request.kind is RequestKind.ADD_TRIAL:
        twin = _twin(request, trials)
        return None if twin is None else f"{twin.name} has these values already"
    number = request.number or 0
    trial = trials.get(number)
    if trial is None:
        # A trial that the search has yet to draw can be skipped by its number.
        if request.kind is RequestKind.SKIP_TRIAL and number < num_trials:
            return None
        return f"there is no trial {number} yet; its search has {num_trials}"
    if trial.state is TrialState.FAILED and request.kind is RequestKind.RETRY_TRIAL:
        return None
    if trial.state.is_finished:
        return f"it has ended: {trial.state.value}"
    if request.kind is RequestKind.RETRY_TRIAL:
        return f"it is {trial.state.value}, and has not failed"
    # A trial that was running when it was asked to stop may wait for another attempt by now.
    if request.kind is RequestKind.STOP_TRIAL:
        return None if trial.attempt else "it has not begun: skip it instead"
    has_begun = trial.state in (TrialState.RUNNING, TrialState.PAUSED)
    return f"it has begun, it is {trial.state.value}: stop it instead" if has_begun else None


def _twin(request: Request, trials: Mapping[int, Trial]) -> Trial | None:
    """Return the suggestion of a user that has all values of the requested one."""
    assert request.planned is not None
    params = request.planned["params"]
    suggested = (t for t in trials.values() if t.kind is TrialKind.SUGGESTED)
    return next((trial for trial in suggested if trial.params == params), None)


def suggested(request: Request, trials: Mapping[int, Trial]) -> Trial:
    """Return the trial that a user suggests; `sampled` are the names of the user's values."""
    assert request.planned is not None
    planned = request.planned
    return Trial(
        study=request.study or "",
        number=next_number(trials.values()),
        kind=TrialKind.SUGGESTED,
        params=planned["params"],
        sampled=tuple(planned["sampled"]),
        seed=int(planned["seed"]),
    )


def refused(request: Request, reason: str) -> Answer:
    """Return the refusal of a request."""
    return Answer(request=request.id, state=RequestState.REFUSED, text=reason)


def accepted(request: Request) -> Answer:
    """Return the promise to obey a request later."""
    text = LATER[request.kind]
    return Answer(request=request.id, state=RequestState.ACCEPTED, text=text)


def obeyed(request: Request, trial: Trial) -> Answer:
    """Return the answer to a request that is obeyed, with its trial afterwards or as it began."""
    text = {
        RequestKind.STOP_TRIAL: "was stopped",
        RequestKind.SKIP_TRIAL: "was skipped",
        RequestKind.RETRY_TRIAL: "is tried again",
        RequestKind.ADD_TRIAL: "waits for its turn",
    }[request.kind]
    state, number = RequestState.OBEYED, trial.number
    return Answer(request=request.id, state=state, text=text, number=number)


def ended_by(request: Request) -> Outcome:
    """Return the end of a trial that a user has stopped or skipped: it is pruned."""
    failure = STOPPED if request.kind is RequestKind.STOP_TRIAL else SKIPPED
    return Outcome(state=TrialState.PRUNED, failure=failure, reason=f"{failure} by {request.by}")


def obey_at_rest(ledger: Ledger, num_trials: Mapping[str, int]) -> None:
    """Answer the open requests of a sweep that no driver runs, under its lease.

    Failed trials are reopened and suggestions added. The next driver stops and skips, for a sampler
    hears of that.

    Args:
        ledger: The ledger of the sweep.
        num_trials: The number of trials of each study's search.
    """
    for request in ledger.requests_about_trials(states=[RequestState.OPEN]):
        study = request.study or ""
        trials = {trial.number: trial for trial in ledger.trials(study)}
        reason = objection(request, trials, num_trials.get(study, 0))
        if reason is not None:
            ledger.answer(refused(request, reason))
        elif request.kind is RequestKind.ADD_TRIAL:
            trial = suggested(request, trials)
            ledger.add_trial(trial, answer=obeyed(request, trial))
        elif request.kind is RequestKind.RETRY_TRIAL:
            trial = trials[request.number or 0]
            ledger.reopen(study, trial.number, obeyed(request, trial))
        else:
            ledger.answer(accepted(request))


def name_of(request: Request) -> str:
    """Return the name of the trial that a request is about; that of its study before it is one."""
    study = request.study or ""
    return study if request.number is None else trial_name(study, request.number)
