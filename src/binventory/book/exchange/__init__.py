"""What comes into the book and leaves it as files: tables, events, and the check digits of what they name.

`tables` reads and writes tables of every kind (`workbooks` and `parquet` are two of them, `cells` what stands in them
all), `imports` turns their rows into entries, `exports` entries into rows and back, `epcis` entries into a GS1 EPCIS
document, `gs1` checks digits, `discrepancies` says in a receiver's words what differs from what was declared.
"""
