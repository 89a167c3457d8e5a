"""What the label panel computes and shows while the user paints: a worker thread, preview layers, and its pages."""
