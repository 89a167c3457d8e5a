"""The queue of runs, their results and the result page."""
