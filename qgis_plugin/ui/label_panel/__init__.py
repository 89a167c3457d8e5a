"""The panel that turns labels into a map: its frame, its pages, the label layer and the painting tools."""
