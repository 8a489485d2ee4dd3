"""Claims about speed and memory, as ratios side by side in one run. `make bench` runs all of them."""
