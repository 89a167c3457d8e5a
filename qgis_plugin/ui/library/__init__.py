"""The model library: its folder, downloads, and window."""
