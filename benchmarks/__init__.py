"""Benchmarks of Whipray beside real Ray and beside the limits of the machine.

Run ``python -m benchmarks --help`` from the root of the repository; README.md says how to read
the result.
"""
