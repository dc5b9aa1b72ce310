"""Speed, measured in pairs inside one process: ``make bench``."""
