"""The small model: what it is trained on, from packages that anyone can get, and how it starts."""
