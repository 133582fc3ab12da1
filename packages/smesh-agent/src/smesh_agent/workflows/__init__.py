"""What agents do together: one package for each workflow."""
