"""From a count and a record to a verdict, from verdicts to a consignment: pure, numpy alone. No files, no clocks."""
