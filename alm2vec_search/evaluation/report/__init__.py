"""Runs beside each other, and beside what others have printed."""
