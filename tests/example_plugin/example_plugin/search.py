"""A sampler and a pruner: factories over classes of Optuna."""


def independent(*, seed, study_seed, startup_trials):
    """Draw by a Parzen estimator that looks at each parameter on its own."""
    from optuna.samplers import TPESampler  # here, so that a sweep file is checked without it

    return TPESampler(seed=seed, n_startup_trials=startup_trials)


def quartile(*, min_epochs, eta):
    """Prune a trial that is not among the best quarter of earlier ones."""
    from optuna.pruners import PercentilePruner

    return PercentilePruner(25.0, n_startup_trials=1, n_warmup_steps=min_epochs)
