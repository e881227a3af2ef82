"""Videos and pictures in and out, through PyAV and Pillow, with the engine in between."""
