"""Change between two dates or periods of one area: what a model says of both, compared pixel by pixel."""
