"""`python -m drift_monitor`: the program without its script."""

from drift_monitor.cli.main import main

if __name__ == "__main__":
    main(prog_name="drift-monitor")
