#include "plan.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#ifdef __unix__
#include <sys/mman.h>
#endif

namespace lkdn {
namespace {

// Taller tiles read less of their surroundings again; lower ones let more threads follow each other.
constexpr int kRows = 12, kColumns = kSegment, kFewThreads = 4;
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

Schedule make_schedule(const Net &net, int width, int threads) {
    Schedule s{threads > kFewThreads ? kRows / 2 : kRows, kColumns, {}};
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
    // A row of tiles keeps about half as many threads busy as it has tiles.
    if (s.tiles_across(width) < 2 * threads) s.columns /= 2;
    return s;
}

namespace {

// Memory of a thread for rows that pass. Maps of as many bytes a pixel, whose zeros beside the rows lie
// in the same places, share it if one is read for the last time left of where the other is made.
class Passing {
public:
    explicit Passing(size_t before) : bytes_((before + kLine - 1) / kLine * kLine) {}

    // For `rows` rows of a map of `pixel` bytes, made `from` columns behind the input and read `to`
    // columns behind it at the latest.
    size_t take(int rows, size_t stride, size_t pixel, int from, int to) {
        for (Shared &s : shared_)
            if (s.pixel == pixel && s.rows == rows && s.to < from) {
                s.to = to;
                return s.offset;
            }
        shared_.push_back({rows, pixel, to, bytes_});
        bytes_ += rows * stride;
        return shared_.back().offset;
    }
    size_t bytes() const { return bytes_; }

private:
    struct Shared {
        int rows;
        size_t pixel;
        int to;
        size_t offset;
    };
    std::vector<Shared> shared_;
    size_t bytes_;
};

}  // namespace

size_t Workspace::lay_out(const Net &net, const Schedule &s, char *memory) {
    char *next = memory;
    const auto take = [&](size_t bytes) {
        char *p = next;
        next += (bytes + kLine - 1) / kLine * kLine;
        return p;
    };
    const int c = net.padded(net.channels), half = net.padded(net.half());
    const int parts = net.padded(3 * net.half() + half);
    const int blocks = net.blocks, mix = stage_of(blocks, 1);
    const size_t sample = net.sample, trunk = sizeof(float);
    const int widest =
        std::max({net.block[0].merged[0].vectors, net.up.vectors, c / net.lanes});
    Passing own(size_t(kSegment + 2) * (3 * c + widest * net.lanes) * sizeof(float));
    // Made by one stage, read by others, the last of which is `reader` and sees `reach` pixels.
    const auto ring = [&](int maker, int reader, int depth, int reach, size_t sample) {
        Ring r;
        const Stage &from = s.stages[maker], &to = s.stages[reader];
        const int needed = to.delay - from.delay + reach;
        const int across = to.shift - from.shift + reach;
        // Every thread may be in a row of tiles of its own, and the last one must not write over
        // what the others still read: with a tile between them, nothing that is read in the next
        // tile at the latest.
        const bool apart = s.distance(width_, threads_) == 2 && across <= s.columns;
        r.tall = s.rows;
        r.delay = from.delay;
        r.shift = from.shift;
        r.lasting = std::min(needed, s.rows);
        r.count = std::min(height_, needed + (apart ? 1 : threads_) * r.lasting);
        r.depth = depth;
        const size_t pixel = depth * sample;
        r.stride = (pixel * (width_ + 2 * kPad) + kLine - 1) / kLine * kLine;
        if (r.stride % kPage < 4 * kLine) r.stride += 4 * kLine;
        r.kept = take(r.stride * r.count);
        if (r.lasting < r.tall)
            r.passing =
                own.take(r.tall - r.lasting, r.stride, pixel, from.shift, to.shift + reach);
        return r;
    };
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
    lines_.zeros = take(c * sample * (width_ + 2 * kPad)) + kPad * c * sample;
    own_size_ = (own.bytes() + kPage - 1) / kPage * kPage;
    own_ = take(own_size_ * threads_);
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
