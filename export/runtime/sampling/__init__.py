"""Random samples of a map: drawn within strata, kept in a file, labelled, and compared with the map."""
