// What a picture of some size needs: the chain of stages and memory for the rows between them.
#pragma once
#include "network.h"

#include <vector>

namespace lkdn {

// Bytes from the system, all zero, in large pages where it has them: rows of many maps are read
// side by side, and the processor keeps few small pages in mind. Throws std::bad_alloc.
class Pages {
public:
    Pages() = default;
    explicit Pages(size_t bytes);
    Pages(const Pages &) = delete;
    Pages &operator=(const Pages &) = delete;
    ~Pages();
    char *data() const { return data_; }  // at a cache line

private:
    void *start_ = nullptr;
    size_t bytes_ = 0;
    char *data_ = nullptr;
};

// The picture is worked on in tiles of `rows` x `columns`, and a tile goes through the whole network
// while it is in the cache. A stage is `delay` rows and `shift` columns behind the input, so that
// all it needs lies in its own tile or in those above and to the left, finished before.
struct Schedule {
    int rows, columns;
    std::vector<Stage> stages;
    int tiles_down(int height) const { return (height + stages.back().delay + rows - 1) / rows; }
    int tiles_across(int width) const {
        return (width + stages.back().shift + columns - 1) / columns;
    }
    // Tiles by which a thread stays behind the one in the row above it. At two nearly nothing that
    // the other still needs lies in the thread's own columns, so fewer rows are kept; where a row has
    // few tiles for each thread, these would wait for one another.
    int distance(int width, int threads) const {
        return tiles_across(width) >= 4 * threads ? 2 : 1;
    }
};

Schedule make_schedule(const Net &net, int width, int threads);

// Memory for a run, kept from one to the next. Throws std::bad_alloc.
class Workspace {
public:
    Workspace(const Net &net, const Schedule &schedule, int height, int width, int threads);

    const Lines &lines() const { return lines_; }
    char *own(int thread) const { return own_ + size_t(thread) * own_size_; }
    bool fits(int height, int width, int threads) const {
        return height == height_ && width == width_ && threads == threads_;
    }
    static size_t bytes(const Net &net, const Schedule &schedule, int height, int width,
                        int threads);

private:
    // Lays everything out from `memory` on; returns the bytes it takes.
    size_t lay_out(const Net &net, const Schedule &schedule, char *memory);

    Workspace(int height, int width, int threads)
        : height_(height), width_(width), threads_(threads) {}

    int height_, width_, threads_;
    size_t own_size_ = 0;
    char *own_ = nullptr;
    std::vector<BlockRings> block_;
    Lines lines_{};
    Pages memory_;
};

}  // namespace lkdn
