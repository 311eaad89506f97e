"""The search of a study, as a sweep file states it: samplers, priors, warm starts, objectives."""
