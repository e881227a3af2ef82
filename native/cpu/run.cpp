// Threads take rows of tiles in turn, each following the one above at a distance; there is no barrier.
// A pixel is computed by the same instructions whoever takes it, so results do not depend on the
// number of threads.
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
    Run(const Stages &stages, const Net &net, const Schedule &schedule,
        const Workspace &workspace, const Picture &picture, int threads,
        const volatile int32_t *stop)
        : stages_(stages), net_(net), schedule_(schedule), workspace_(workspace),
          picture_(picture), stop_(stop), across_(schedule.tiles_across(picture.width)),
          distance_(schedule.distance(picture.width, threads)),
          done_(schedule.tiles_down(picture.height)) {}

    // Works until nothing is left to take, or it is told to stop.
    void work(int thread) {
        std::unique_lock<std::mutex> lock(mutex_);
        while (!stopped_ && taken_ < done_.size()) {
            const size_t row = taken_++;
            for (int column = 0; column < across_; column++) {
                const int above = std::min(column + distance_, across_);
                while (!stopped_ && row > 0 && done_[row - 1] < above) wait(lock);
                if (stopped_ || (stop_ && *stop_)) {
                    stopped_ = true;
                    changed_.notify_all();
                    return;
                }
                lock.unlock();
                make(static_cast<int>(row), column, thread);
                lock.lock();
                done_[row]++;
                if (waiting_) changed_.notify_all();
            }
        }
    }

    bool stopped() const { return stopped_; }

private:
    void wait(std::unique_lock<std::mutex> &lock) {
        waiting_++;
        changed_.wait(lock);
        waiting_--;
    }

    void make(int row, int column, int thread) const {
        const int height = schedule_.rows, width = schedule_.columns;
        for (const Stage &s : schedule_.stages) {
            const int y = row * height - s.delay, x = column * width - s.shift;
            const Part part{std::max(0, y), std::min(picture_.height, y + height),
                            std::max(0, x), std::min(picture_.width, x + width)};
            if (part.y0 < part.y1 && part.x0 < part.x1)
                stages_.run(net_, workspace_.lines(), picture_, s, part, workspace_.own(thread));
        }
    }

    const Stages &stages_;
    const Net &net_;
    const Schedule &schedule_;
    const Workspace &workspace_;
    const Picture &picture_;
    const volatile int32_t *const stop_;
    const int across_, distance_;
    std::mutex mutex_;
    std::condition_variable changed_;
    size_t taken_ = 0;
    std::vector<int> done_;  // tiles of each row
    int waiting_ = 0;
    bool stopped_ = false;
};

}  // namespace

bool run_picture(const Stages &stages, const Net &net, const Schedule &schedule,
                 const Workspace &workspace, const Picture &picture, int threads,
                 const volatile int32_t *stop) {
    Run run(stages, net, schedule, workspace, picture, threads, stop);
    run_together(threads, [&](int thread) { run.work(thread); });
    return !run.stopped();
}

}  // namespace lkdn
