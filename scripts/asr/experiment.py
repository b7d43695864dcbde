"""Run an experiment: settings, seeds and folds: ``python -m asr.experiment --help``.

The work is done in asr.experiments.driver.
"""

from asr.core import errors
from asr.experiments import driver

if __name__ == "__main__":
    errors.run(driver.main)
