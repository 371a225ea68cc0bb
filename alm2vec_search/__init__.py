"""Search over audio collections by meaning: in words, by sound, or both."""
