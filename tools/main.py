"""Train a network: `python tools/main.py -c configs/adaattn_video.yaml`; `--help` tells more."""

from _launch import launch

if __name__ == "__main__":
    launch("train")
