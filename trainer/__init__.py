"""Contrastive training of ALM2Vec models: pairs → batches → symmetric InfoNCE → a LoRA adapter."""
