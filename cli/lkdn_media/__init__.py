"""Video files in and out, through PyAV: probe, plan, decode, encode, copy. No network in here."""
