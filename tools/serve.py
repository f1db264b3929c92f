"""Paint over HTTP: `python tools/serve.py --help` tells how. It is `ppadaattn serve` for a clone."""

from _launch import launch

if __name__ == "__main__":
    launch("serve")
