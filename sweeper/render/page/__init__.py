"""Pages about sweeps: sections, figures and templates."""
