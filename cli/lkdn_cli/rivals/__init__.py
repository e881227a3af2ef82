"""The systems the paper measures LKDN against (its Table 4), for speed comparisons only.

Written from their papers, untrained. Nothing but ``lkdn-bench --table4`` imports them.
"""
