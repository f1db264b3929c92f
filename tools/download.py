"""List or fetch the files that can be had by name: `python tools/download.py --list`; `--help` tells more."""

from _launch import launch

if __name__ == "__main__":
    launch("download")
