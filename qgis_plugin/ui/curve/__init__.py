"""The season curve: a map tool, and a panel that shows what layers of several dates hold at the place of a click."""
