"""Write a model as programs for other runtimes: `python tools/export.py --model adaattn_lite_video --output folder`."""

from _launch import launch

if __name__ == "__main__":
    launch("export")
