"""Runs the command line."""

from chatctl.app import main

if __name__ == "__main__":
    main()
