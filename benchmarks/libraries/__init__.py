"""Programs of published libraries that import ray, on real Ray and on Whipray."""
