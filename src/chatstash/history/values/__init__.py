"""Options, selections and results: the values that operations take and return."""
