// What a picture of some size needs: the chain of stages and memory for the rows between them.
#pragma once
#include "network.h"

#include <vector>

namespace lkdn {

// Floats from the system, all zero, in large pages where it has them: rows of many maps are read
// side by side, and the processor keeps few small pages in mind. Throws std::bad_alloc.
class Pages {
public:
    Pages() = default;
    explicit Pages(size_t floats);
    Pages(const Pages &) = delete;
    Pages &operator=(const Pages &) = delete;
    ~Pages();
    float *data() const { return data_; }  // at a cache line

private:
    void *start_ = nullptr;
    size_t bytes_ = 0;
    float *data_ = nullptr;
};

// Rows come in steps: in step t a stage makes the `rows` rows that end `delay` rows behind the
// input's. A stage may be one step ahead of the next, and `lead` of readers further down.
struct Schedule {
    int rows, lead;
    std::vector<Stage> stages;
    std::vector<int> reader;  // the last stage that reads what a stage makes
    int steps(int height) const { return (height + stages.back().delay + rows - 1) / rows; }
    // How many steps a stage may be ahead of the next one, which reads most of what it makes.
    int ahead_of_next() const { return lead ? 1 : 0; }
};

Schedule make_schedule(const Net &net, int width, int threads);

// Memory for a run, kept from one to the next. Throws std::bad_alloc.
class Workspace {
public:
    Workspace(const Net &net, const Schedule &schedule, int height, int width, int threads);

    const Lines &lines() const { return lines_; }
    float *scratch(int thread) const { return scratch_ + size_t(thread) * scratch_size_; }
    bool fits(int height, int width, int threads) const {
        return height == height_ && width == width_ && threads == threads_;
    }
    static size_t bytes(const Net &net, const Schedule &schedule, int height, int width,
                        int threads);

private:
    // Lays everything out from `memory` on; returns the floats it takes.
    size_t lay_out(const Net &net, const Schedule &schedule, float *memory);

    Workspace(int height, int width, int threads)
        : height_(height), width_(width), threads_(threads) {}

    int height_, width_, threads_;
    size_t scratch_size_ = 0;
    float *scratch_ = nullptr;
    std::vector<BlockRings> block_;
    Lines lines_{};
    Pages memory_;
};

}  // namespace lkdn
