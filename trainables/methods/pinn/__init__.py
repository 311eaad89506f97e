"""PINN: physics-informed neural networks (Raissi et al., J. Comput. Phys. 378, 2019).

Nothing is learned from training samples. For each sample that is scored, a network of coordinates
u(s, x) of its own is fitted to the equation, from the sample's input alone.

    method     the stage, and the settings of the first trial
    config     the settings of `solve`
    equations  residuals of the generators' equations
    network    networks of coordinates with their derivatives, many at once
    solver     the loss, its minimisation, and the model that solves its inputs
    solving    the stage `solve`
"""
