"""Measures features and predictions: probes, retrieval across dates, scores, confidence intervals."""
