"""What ``lkdn-bench`` measures, and how."""
