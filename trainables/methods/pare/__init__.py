"""PaRe: gradual patch replacement (Cai et al., ICML 2024), and its controls."""
