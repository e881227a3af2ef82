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
        volatile int64_t *work)
        : stages_(stages), net_(net), schedule_(schedule), workspace_(workspace),
          picture_(picture), work_(work), across_(schedule.tiles_across(picture.width)),
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
                if (stopped_ || (work_ && work_[0])) {
                    stopped_ = true;
                    changed_.notify_all();
                    return;
                }
                lock.unlock();
                make(static_cast<int>(row), column, thread);
                lock.lock();
                done_[row]++;
                count();
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

    // One tile more is done.
    void count() {
        if (!work_) return;
        const int64_t all = static_cast<int64_t>(done_.size()) * across_;
        const int64_t pixels = static_cast<int64_t>(picture_.height) * picture_.width;
        const int64_t before = pixels * tiles_ / all;
        work_[1] = work_[1] + pixels * ++tiles_ / all - before;
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
    volatile int64_t *const work_;
    const int across_, distance_;
    std::mutex mutex_;
    std::condition_variable changed_;
    size_t taken_ = 0;
    std::vector<int> done_;  // tiles of each row
    int64_t tiles_ = 0;  // of all
    int waiting_ = 0;
    bool stopped_ = false;
};

}  // namespace

bool run_picture(const Stages &stages, const Net &net, const Schedule &schedule,
                 const Workspace &workspace, const Picture &picture, int threads,
                 volatile int64_t *work) {
    Run run(stages, net, schedule, workspace, picture, threads, work);
    run_together(threads, [&](int thread) { run.work(thread); });
    return !run.stopped();
}

}  // namespace lkdn
