"""The method: MoCo v2 with temporal positives and the geo-location pretext, its pairs, views and geo clusters."""
