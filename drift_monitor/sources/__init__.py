"""Users' databases, only ever read: counts come out, rows do not.

`source.Source` is the way in. One builder makes the statements, a dialect spells what differs; servers count by
themselves, embedded databases stream bounded batches. Every reading adds up to the rows it saw, or is thrown away.
"""
