"""From rows in PostgreSQL to a person's webhook, with the real programs, as a user would start them."""
