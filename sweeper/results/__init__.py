"""The results of sweeps: what a ledger or evidence means, for one sweep and for several."""
