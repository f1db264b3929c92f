"""Compare methods by figures: `python tools/evaluate.py flow|quality|speed|report`; `--help` tells more."""

from _launch import launch

if __name__ == "__main__":
    launch("evaluate")
