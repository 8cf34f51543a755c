"""python -m latentfp.cli"""

from latentfp.cli import run

run()
