// Threads take steps of stages as they become possible, the one furthest down first: rows go through
// the whole network while they are in the cache, and nobody waits at a barrier. A row is computed by
// the same instructions whoever takes it, so results do not depend on the number of threads.
#include "run.h"

#include "pool.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace lkdn {
namespace {

class Run {
public:
    Run(const Kernels &kernels, const Net &net, const Schedule &schedule,
        const Workspace &workspace, const Picture &picture)
        : kernels_(kernels), net_(net), schedule_(schedule), workspace_(workspace),
          picture_(picture), steps_(schedule.steps(picture.height)),
          progress_(schedule.stages.size()) {}

    // Works until nothing is left to take; thread 0 until everything is done.
    void work(int thread) {
        std::unique_lock<std::mutex> lock(mutex_);
        while (thread == 0 ? progress_.back().done < steps_ : progress_.back().taken < steps_) {
            const int stage = next();
            if (stage < 0) {
                waiting_++;
                changed_.wait(lock);
                waiting_--;
                continue;
            }
            const int step = progress_[stage].taken++;
            lock.unlock();
            make(stage, step, workspace_.scratch(thread));
            lock.lock();
            finish(progress_[stage], step);
            if (waiting_) changed_.notify_all();
        }
    }

private:
    struct Progress {
        int taken = 0, done = 0;  // steps handed out, and finished without a gap
        uint64_t later = 0;       // finished ones beyond, a bit each
    };

    int next() const {
        for (int s = static_cast<int>(progress_.size()) - 1; s >= 0; s--)
            if (possible(s)) return s;
        return -1;
    }

    bool possible(int s) const {
        const int step = progress_[s].taken, last = static_cast<int>(progress_.size()) - 1;
        if (step == steps_ || (s > 0 && progress_[s - 1].done <= step)) return false;
        if (s < last && progress_[s + 1].done < step - schedule_.ahead_of_next()) return false;
        return s == last || progress_[schedule_.reader[s]].done >= step - schedule_.lead;
    }

    void make(int stage, int step, float *scratch) const {
        const Stage &s = schedule_.stages[stage];
        const int end = (step + 1) * schedule_.rows - s.delay;
        const int from = std::max(0, end - schedule_.rows), to = std::min(picture_.height, end);
        if (from < to)
            kernels_.run(net_, workspace_.lines(), picture_, s, from, to, scratch);
    }

    static void finish(Progress &p, int step) {
        p.later |= uint64_t(1) << (step - p.done);
        for (; p.later & 1; p.later >>= 1) p.done++;
    }

    const Kernels &kernels_;
    const Net &net_;
    const Schedule &schedule_;
    const Workspace &workspace_;
    const Picture &picture_;
    const int steps_;
    std::vector<Progress> progress_;
    std::mutex mutex_;
    std::condition_variable changed_;
    int waiting_ = 0;
};

}  // namespace

void run_picture(const Kernels &kernels, const Net &net, const Schedule &schedule,
                 const Workspace &workspace, const Picture &picture, int threads) {
    Run run(kernels, net, schedule, workspace, picture);
    run_together(threads, [&](int thread) { run.work(thread); });
}

}  // namespace lkdn
