import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = {}
exec((HERE / "ppadaattn" / "version.py").read_text(encoding="utf-8"), VERSION)

# Folders beside the package in a clone that a wheel holds inside it: {folder: files}. See ppadaattn/resources.py.
RESOURCES = {
    "configs": ["*.yaml", "*/*.yaml", "README.md"],
    "examples/content": ["*.jpg"],
    "examples/style": ["*.jpg"],
    "pretrained": ["*.pdparams", "*.safetensors", "provenance.json", "README.md"],
}
PACKAGES = {f"ppadaattn.{folder.replace('/', '.')}": folder for folder in RESOURCES}


def description():
    """README.md for a package index, which has no files beside it: pictures become their captions, links their text."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"!\[([^]]*)\]\((?!https?:)[^)]*\)", r"*Picture in the repository: \1.*", text)
    return re.sub(r"(?<!!)\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", text)


ONNX = ['onnx>=1.15; python_version >= "3.9"', 'onnxruntime>=1.16; python_version >= "3.9"']

setup(
    name="ppadaattn",
    version=VERSION["__version__"],
    description="AdaAttN in PaddlePaddle: arbitrary neural style transfer for pictures and video",
    long_description=description(),
    long_description_content_type="text/markdown",
    author="ppadaattn developers",
    license="Apache-2.0",
    license_files=["LICENSE"],
    project_urls={"Paper": "https://arxiv.org/abs/2108.03647"},
    keywords=["AdaAttN", "PaddlePaddle", "style transfer", "attention", "image stylization", "video stylization"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Multimedia :: Graphics",
        "Topic :: Multimedia :: Video",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    python_requires=">=3.8",
    packages=[*find_packages(include=["ppadaattn*"]), *PACKAGES],
    package_dir=PACKAGES,
    package_data={
        "ppadaattn": ["py.typed"],
        "ppadaattn.serve": ["static/*", "browser/*"],  # the page, and what it has without a service
        **{name: RESOURCES[folder] for name, folder in PACKAGES.items()},
    },
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
        "heic": ["pillow-heif>=0.10"],  # pictures of iPhones
        "train": ["visualdl"],  # curves of a training
        "convert": ["torch>=1.13"],  # the authors' VGG-19, a file from before PyTorch 1.6
        "onnx": ONNX,
        "control": ["opencv-python-headless"],  # optical flow, regions made by hand
        "evaluate": ["matplotlib>=3.5", "opencv-python-headless"],  # charts and optical flow of tools/evaluate.py
        "ray": ["ray>=2.9"],  # ppadaattn paint --ray
        "serve": ["prometheus-client", "starlette", "uvicorn>=0.22"],  # ppadaattn serve
        # OpenCV also draws examples/; headless needs no display libraries
        "test": [
            "matplotlib>=3.5",
            "opencv-python-headless",
            "prometheus-client",
            "pytest>=7",
            "starlette",
            "uvicorn>=0.22",
        ],
        # Tests of the page, with the system's Chromium; not in "test", since its wheels are large and not for all.
        "browser": ["playwright"],
        "lint": ["ruff==0.17.6"],
    },
)
