"""One module per scenario; each has a `run` that measures and returns a `Report`."""
