"""Our encoders and our search under mteb, the benchmark of embeddings."""
