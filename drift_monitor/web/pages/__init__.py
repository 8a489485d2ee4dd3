"""The pages for people, drawn on the server."""
