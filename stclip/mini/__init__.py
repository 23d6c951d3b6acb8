"""The miniature: renders a small J-HMDB and UCF101-24, trains tiny CLIPs and person detectors."""
