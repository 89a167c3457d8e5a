"""Describes and measures results: areas, accuracy, styles."""
