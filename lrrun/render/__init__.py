"""Finished values → tables, terminal plots and figures."""
