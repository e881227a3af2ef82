"""The command lines: each parses arguments, calls the engine, and reports errors in one line."""
