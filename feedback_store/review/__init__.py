"""Human spot checks: who has which answer before them, and what they say of it."""
