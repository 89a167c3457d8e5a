"""The source ``stac``: chips from a public STAC catalogue."""
