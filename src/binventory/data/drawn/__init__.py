"""Bins drawn in code, in the Amazon Bin Image Dataset's layout: photos with records, free of anyone's licence.

A bin is a pure function of (seed, id). Roughly every third bin is its predecessor after something was put in or taken
out, as in the bucket, where neighbouring ids are often one bin before and after.

`bins` says what lies in which bin, `pod` builds the cell around it and takes the photo, `paint` paints the goods, and
`goods` knows what articles there are and how they may lie. Each uses only those named after it.
"""

from binventory.data.drawn.bins import (
    LONGEST_COUNT,
    TWIN_SHARE,
    DrawnBin,
    bin_id,
    draw,
    draw_one,
    is_twin,
    record_of,
    write,
)

__all__ = [
    "LONGEST_COUNT",
    "TWIN_SHARE",
    "DrawnBin",
    "bin_id",
    "draw",
    "draw_one",
    "is_twin",
    "record_of",
    "write",
]
