// Threads of our own, started once and asleep while there is nothing to do.
#pragma once
#include <functional>

namespace lkdn {

// Calls work(0) here and work(1) ... work(threads - 1) on other threads, as far as some are free in
// time; returns when all that were called have returned. Several callers may come at once.
void run_together(int threads, const std::function<void(int)> &work);

}  // namespace lkdn
