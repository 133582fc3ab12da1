"""`python -m smesh_cli` is `smesh`."""

from smesh_cli.main import main

main()
