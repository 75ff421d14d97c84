"""The `lrrun` command: parse, call, print; one module a verb, no maths, no torch."""
