"""What measures: figures of docs/ come from here. Each runs in the environment that scripts/install.sh makes."""
