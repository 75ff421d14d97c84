"""YAML text → Experiment; the only reader of configs. Nothing here loads torch."""
