"""`/api/v1`: what the store knows of alerts, and what operators say of them, as JSON. One noun a module.

Handlers are plain functions of a `Call`. What they share: the query string is read by `query`, a body by `body`, and
`answering` turns what they return or raise into an answer; nothing but JSON leaves this package.
"""
