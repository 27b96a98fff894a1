"""How numbers become bytes. Knows nothing of embeddings; sits below the factorization."""
