"""What people look at: pictures of chips, pages of a store, reports of runs."""
