"""Two datasets compared without a configuration: frames, files, tables."""
