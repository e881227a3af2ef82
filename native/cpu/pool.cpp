#include "pool.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

#ifdef __unix__
#include <unistd.h>
#endif

namespace lkdn {
namespace {

struct Job {
    const std::function<void(int)> &work;
    int wanted, taken = 0, inside = 0;
    std::condition_variable left{};
};

class Pool {
public:
    void run(Job &job) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            while (size_ < job.wanted && start()) {
            }
            jobs_.push_back(&job);
        }
        for (int i = 0; i < job.wanted; i++) arrived_.notify_one();
        job.work(0);
        std::unique_lock<std::mutex> lock(mutex_);
        jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), &job), jobs_.end());
        job.left.wait(lock, [&] { return job.inside == 0; });
    }

private:
    // Detached: they hold nothing, and the pool is never destroyed.
    bool start() {
        try {
            std::thread([this] { serve(); }).detach();
        } catch (const std::system_error &) {
            return false;  // fewer threads will do
        }
        size_++;
        return true;
    }

    [[noreturn]] void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            arrived_.wait(lock, [this] { return !jobs_.empty(); });
            Job &job = *jobs_.front();
            const int index = ++job.taken;
            if (job.taken == job.wanted) jobs_.pop_front();
            job.inside++;
            lock.unlock();
            job.work(index);
            lock.lock();
            if (--job.inside == 0) job.left.notify_one();
        }
    }

    std::mutex mutex_;
    std::condition_variable arrived_;
    std::deque<Job *> jobs_;
    int size_ = 0;
};

// A forked child has none of its parent's threads, and starts its own.
Pool &pool() {
    static std::mutex mutex;
    static Pool *current = nullptr;
    const std::lock_guard<std::mutex> lock(mutex);
#ifdef __unix__
    static pid_t owner = 0;
    if (owner != getpid()) {
        owner = getpid();
        current = nullptr;
    }
#endif
    if (!current) current = new Pool;
    return *current;
}

}  // namespace

void run_together(int threads, const std::function<void(int)> &work) {
    if (threads <= 1) return work(0);
    Job job{work, threads - 1};
    pool().run(job);
}

}  // namespace lkdn
