"""Pretraining and fine-tuning in Lightning's loop, and what they share."""
