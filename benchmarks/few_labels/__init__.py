"""How well, and how fast, a few labels become a map."""
