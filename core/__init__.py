"""Geography-aware self-supervised learning: chip stores, pretraining, probes and fine-tuning."""
