"""Programs whose observable results on Ray are recorded, and compared with those here."""
