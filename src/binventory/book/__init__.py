"""The ledger: what was counted, expected, moved, recounted and adjusted, never changed once written, and what follows
from it. SQLite by default, PostgreSQL by URL.

`entries` says what an entry may be, `timeline` folds a bin's entries into its state (both pure), `schema` and `store`
keep them, `acts` is what people and cameras do, `views` what they ask.
"""
