"""`/api/v1`: what the store knows of alerts, and what operators say of them, as JSON; nothing else leaves this package.

`requests` reads what is asked for, `resources` has a function for each address and method, `routes` turns what they
return or raise into an answer.
"""
