// Threads of our own, started once and asleep while there is nothing to do.
#pragma once
#include <atomic>
#include <functional>

namespace lkdn {

// Calls work(0) here and work(1) ... work(threads - 1) on other threads, as far as some are free in
// time; returns when all that were called have returned. Several callers may come at once.
void run_together(int threads, const std::function<void(int)> &work);

// Calls work(thread, task) for each of the tasks, which the threads take in turn.
template <class Work> void take_in_turn(int threads, int tasks, Work work) {
    std::atomic<int> next{0};
    run_together(threads, [&](int thread) {
        for (int task = next++; task < tasks; task = next++) work(thread, task);
    });
}

}  // namespace lkdn
