"""What the store knows, as values for commands, API, pages and `/metrics`. Nothing is read from sources here."""
