"""What `/metrics` shows of the store: read, then rendered."""
