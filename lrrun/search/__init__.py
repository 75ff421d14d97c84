"""What finds learning rates: range tests, sweeps, halving; Experiments out, records in."""
