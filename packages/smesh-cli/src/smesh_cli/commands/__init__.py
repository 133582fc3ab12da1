"""One module for each subcommand of `smesh`."""
