"""What one would use instead of Whipray on one machine, measured beside it.

``python -m benchmarks peers``; the rows are in rows.py, what each peer does for them in pools.py.
"""
