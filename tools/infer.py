"""Paint pictures and videos in the style of pictures: `python tools/infer.py --help` tells how.

Without an argument it paints the bundled example.
"""

from _launch import launch

if __name__ == "__main__":
    launch("paint")
