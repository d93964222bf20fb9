"""The compiled loops; all else about the package is in pyproject.toml."""

from setuptools import Extension, setup

FOLDER = "server/stillroom_server/inference/compiled"

setup(
    ext_modules=[
        Extension(
            "stillroom_server.inference.compiled._kernels",
            sources=[f"{FOLDER}/{name}.c" for name in ("module", "rows", "runs")],
            depends=[f"{FOLDER}/{name}.h" for name in ("kernels", "rows_of_lanes")],
            # Products are rounded before they are added, as scipy's are: the same bits.
            extra_compile_args=["-O3", "-ffp-contract=off", "-fno-math-errno"],
            py_limited_api=True,
            optional=True,  # without a compiler scipy and numpy serve
        )
    ]
)
