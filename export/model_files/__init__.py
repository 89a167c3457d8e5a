"""How trained models become ONNX files: cards, feature maps, 8-bit integers, weights in one file."""
