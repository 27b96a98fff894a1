"""How numbers are stored in few bits: labels packed, factors quantised."""
