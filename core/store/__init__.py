"""The chip store: reading, building, checking and describing it."""
