"""Models that answer in words: measured by the option that they choose."""
