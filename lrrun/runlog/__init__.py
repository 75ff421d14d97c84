"""The only room that knows the files inside a run folder."""
