"""Run an experiment, settings x seeds x folds: the work is done in asr.experiments.driver."""

from asr.core import errors
from asr.experiments import driver

if __name__ == "__main__":
    errors.run(driver.main)
