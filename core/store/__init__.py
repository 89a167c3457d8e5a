"""The chip store: reading, building, checking and describing it."""

from core.store.read import ChipStore as ChipStore
