"""`python -m kladml_tui` is `kladml-tui`."""

from kladml_tui.cli import main

if __name__ == "__main__":
    main()
