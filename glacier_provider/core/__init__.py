"""The deciding code: pure values and functions, without clock, disk, network or environment."""
