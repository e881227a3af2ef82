#include "plan.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#ifdef __unix__
#include <sys/mman.h>
#endif

namespace lkdn {
namespace {

// Larger tiles read less of their surroundings again; smaller ones let more threads follow each
// other, and each of them may need rows of its own.
constexpr int kRows = 8, kColumns = 2 * kSegment, kFewThreads = 4;
// Columns go through the kernels four at a time.
constexpr int kTogether = 4;
// Bytes. Rows start at cache lines, and not all at the same place of a page.
constexpr size_t kLine = 64, kPage = 4096;
#ifdef __unix__
constexpr size_t kLargePage = 1 << 21;
#endif
constexpr int kStagesOfBlock = 6;

int stage_of(int block, int index) { return kStagesOfBlock * block + index; }

}  // namespace

Schedule make_schedule(const Net &net, int threads) {
    const int divisor = threads > kFewThreads ? 2 : 1;
    Schedule s{kRows / divisor, kColumns / divisor, {}};
    int delay = 0, shift = 0;
    const auto add = [&](Kind kind, int block, int index, int reach) {
        delay += reach;
        shift += (reach + kTogether - 1) / kTogether * kTogether;
        s.stages.push_back({kind, block, index, delay, shift});
    };
    add(Kind::head, 0, 0, 0);
    for (int b = 0; b < net.blocks; b++) {
        for (int i = 0; i < 3; i++) add(Kind::distill, b, i, 1);
        add(Kind::join, b, 0, 1);
        add(Kind::small, b, 0, 2);
        add(Kind::attend, b, 0, 6);
    }
    add(Kind::mix, 0, 0, 1);
    add(Kind::up, 0, 0, 1);
    return s;
}

size_t Workspace::lay_out(const Net &net, const Schedule &s, char *memory) {
    char *next = memory;
    const auto take = [&](size_t bytes) {
        char *p = next;
        next += (bytes + kLine - 1) / kLine * kLine;
        return p;
    };
    // Made by one stage, read by others, the last of which is `reader` and sees `reach` pixels.
    const auto ring = [&](int maker, int reader, int depth, int reach, size_t sample) {
        Ring r;
        const int behind = s.stages[reader].delay - s.stages[maker].delay;
        const int across = s.stages[reader].shift - s.stages[maker].shift + reach;
        // Every thread may be in a row of tiles of its own, and the last one must not write over
        // what the others still read: with a tile between them, nothing that is read in the next
        // tile at the latest.
        const bool apart = s.distance(width_, threads_) == 2 && across <= s.columns;
        r.count = std::min(height_, (apart ? 1 : threads_) * s.rows + behind + reach);
        r.depth = depth;
        r.pad = reach;
        r.stride = (depth * sample * (width_ + 2 * reach) + kLine - 1) / kLine * kLine;
        if (r.stride % kPage < 4 * kLine) r.stride += 4 * kLine;
        r.memory = take(r.stride * r.count);
        return r;
    };
    const int c = net.padded(net.channels), half = net.padded(net.half());
    const int parts = net.padded(3 * net.half() + half);
    const int blocks = net.blocks, mix = stage_of(blocks, 1);
    const size_t sample = net.sample, trunk = sizeof(float);
    block_.resize(blocks);
    for (int b = 0; b < blocks; b++) {
        const int base = stage_of(b, 0);
        BlockRings &r = block_[b];
        for (int i = 0; i < 4; i++)
            r.t[i] = ring(base + i, base + i + 1, i < 3 ? c : half, 1, sample);
        r.parts = ring(base, base + 4, parts, 0, sample);
        r.u = ring(base + 4, base + 6, c, 0, sample);
        r.a = ring(base + 4, base + 5, c, 2, sample);
        r.b = ring(base + 5, base + 6, c, 6, sample);
        r.x = ring(base + 6, b + 1 < blocks ? base + 12 : base + 6, c, 0, trunk);
    }
    lines_.block = block_.data();
    lines_.first = ring(0, mix, c, 0, trunk);
    lines_.sum = ring(stage_of(0, 6), stage_of(blocks, 0), c, 0, trunk);
    lines_.mixed = ring(stage_of(blocks, 0), mix, c, 1, sample);
    lines_.last = ring(mix, mix + 1, c, 1, sample);
    lines_.zeros = take(c * sample * (width_ + 12)) + 6 * c * sample;
    const int widest = std::max({net.block[0].merged[0].vectors, net.block[0].c5.vectors,
                                 net.up.vectors, c / net.lanes});
    scratch_size_ = size_t(kSegment + 2) * (3 * c + widest * net.lanes);
    scratch_size_ = (scratch_size_ * sizeof(float) + kPage - 1) / kPage * kPage;
    scratch_ = take(scratch_size_ * threads_);
    return size_t(next - memory);
}

Workspace::Workspace(const Net &net, const Schedule &schedule, int height, int width, int threads)
    : height_(height), width_(width), threads_(threads),
      memory_(lay_out(net, schedule, nullptr)) {
    lay_out(net, schedule, memory_.data());
}

size_t Workspace::bytes(const Net &net, const Schedule &schedule, int height, int width,
                        int threads) {
    return Workspace(height, width, threads).lay_out(net, schedule, nullptr);
}

#ifdef __unix__
Pages::Pages(size_t bytes) : bytes_(bytes + kLargePage) {
    start_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start_ == MAP_FAILED) throw std::bad_alloc();
    const auto address = reinterpret_cast<uintptr_t>(start_);
    data_ = reinterpret_cast<char *>((address + kLargePage - 1) / kLargePage * kLargePage);
#ifdef MADV_HUGEPAGE
    if (bytes_ > 2 * kLargePage) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
}

Pages::~Pages() {
    if (start_) munmap(start_, bytes_);
}
#else
Pages::Pages(size_t bytes) : bytes_(bytes + kLine) {
    start_ = std::calloc(bytes_, 1);
    if (!start_) throw std::bad_alloc();
    const auto address = reinterpret_cast<uintptr_t>(start_);
    data_ = reinterpret_cast<char *>((address + kLine - 1) / kLine * kLine);
}

Pages::~Pages() { std::free(start_); }
#endif

}  // namespace lkdn
