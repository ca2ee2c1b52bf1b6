"""Photos and their records before any model: layout, catalogue, links, split, and bins drawn in code."""
