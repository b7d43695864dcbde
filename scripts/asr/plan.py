"""Choose batch_size by measuring: the work is done in asr.training.plan."""

from asr.core import errors
from asr.training import plan

if __name__ == "__main__":
    errors.run(plan.main)
