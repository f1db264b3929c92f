from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = {}
exec((HERE / "ppadaattn" / "version.py").read_text(encoding="utf-8"), VERSION)

ONNX = ['onnx>=1.15; python_version >= "3.9"', 'onnxruntime>=1.16; python_version >= "3.9"']

setup(
    name="ppadaattn",
    version=VERSION["__version__"],
    description="AdaAttN in PaddlePaddle: arbitrary neural style transfer for pictures and video",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.8",
    # The bundled weights stand beside the package in a clone, inside it in a wheel.
    packages=[*find_packages(include=["ppadaattn*"]), "ppadaattn.pretrained"],
    package_dir={"ppadaattn.pretrained": "pretrained"},
    package_data={"ppadaattn.pretrained": ["*.pdparams", "README.md"]},
    install_requires=[
        'av>=14.2; python_version >= "3.9"',  # videos; earlier ones do not say how a video is turned
        "numpy",
        "pillow>=9.1",
        "pyyaml",
        "safetensors>=0.4",  # style files
        "tqdm",
    ],
    entry_points={"console_scripts": ["ppadaattn = ppadaattn.__main__:main"]},
    extras_require={
        "cpu": ["paddlepaddle>=2.6.2", *ONNX],  # ONNX Runtime paints several times faster on a CPU
        # The newest CUDA wheel on PyPI is 2.6.2, which was built for numpy 1.
        "gpu": ["paddlepaddle-gpu>=2.6.2", "numpy<2"],
        "train": ["visualdl"],  # curves of a training
        "convert": ["torch>=1.13"],  # the authors' VGG-19, a file from before PyTorch 1.6
        "onnx": ONNX,
        "control": ["opencv-python-headless"],  # optical flow, regions made by hand
        "evaluate": ["matplotlib>=3.5", "opencv-python-headless"],  # charts and optical flow of tools/evaluate.py
        "serve": ["prometheus-client", "starlette", "uvicorn"],  # ppadaattn serve
        # OpenCV also draws examples/; headless needs no display libraries
        "test": ["matplotlib>=3.5", "opencv-python-headless", "prometheus-client", "pytest>=7", "starlette", "uvicorn"],
        "lint": ["ruff==0.17.6"],
    },
)
