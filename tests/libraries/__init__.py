"""Published libraries that import ray, on Whipray: run by `make test-libraries`."""
