"""Pictures and reports: chips, stores, the quickstart."""
