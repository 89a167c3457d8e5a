"""Encoders, the heads on top of them, and how trained weights are read and adapted."""
