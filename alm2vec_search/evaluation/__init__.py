"""Measuring models as the field does: published protocols, MTEB, and one's own labels."""
