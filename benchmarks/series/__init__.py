"""Models that read a series of dates, measured."""
