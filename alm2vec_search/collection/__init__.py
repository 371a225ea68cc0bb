"""The store of vectors: the contract, and one module for each Qdrant that meets it."""
