"""Several nodes as one server: who holds which device, and what waits for those who hold none."""
