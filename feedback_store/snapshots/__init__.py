"""The parts of a snapshot's build: votes gathered, made rows, sorted, written."""
