"""Pure analysis of runs that are done or under way: no files, no clock, no torch."""
