"""The parts of a process: its forks, worker threads, copies and log lines."""
