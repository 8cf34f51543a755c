"""What the wheel holds: latentfp, and configs/ as latentfp/configs. All else stands in pyproject.toml."""

from setuptools import find_packages, setup

configs = ("latentfp.configs", "latentfp.configs.bench", "latentfp.configs.studies")
setup(packages=[*find_packages(include=["latentfp*"]), *configs], package_dir={configs[0]: "configs"})
