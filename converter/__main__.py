"""``python -m converter``."""

from converter.cli.app import main

if __name__ == "__main__":
    main()
