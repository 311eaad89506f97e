"""MoNA: modality knowledge alignment (Ma et al., ICML 2024)."""
