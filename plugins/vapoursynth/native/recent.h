// The last frames of a stream and what they became: what repeats one of them is not worked on again.
#pragma once
#include "VapourSynth4.h"
#include "python_bridge.h"

#include <cstring>
#include <deque>
#include <memory>

namespace lkdn {

class RecentFrames {
  public:
    struct Enlarged {
        const VSFrame *frame;
        int32_t matrix;  // what the session set it to, or kAbsent
    };

    // The result for a frame with the samples and tags of `source`; its frame is null if there is
    // none. It stays until the next keep().
    Enlarged find(const VSFrame *source, const Frame &tags, const VSAPI *vsapi) const {
        for (const Entry &entry : entries_)
            if (same(entry, source, tags, vsapi)) return {entry.target.get(), entry.matrix};
        return {nullptr, kAbsent};
    }

    void keep(const VSFrame *source, const Frame &tags, const VSFrame *target, int32_t matrix,
              VSCore *core, const VSAPI *vsapi) {
        if (entries_.size() == kKept) entries_.pop_front();
        entries_.push_back({samples(source, core, vsapi), tags,
                            samples(target, core, vsapi), matrix});
    }

    // The planes of `frame`, which are shared, with the properties of another one, or none.
    static VSFrame *with_properties(const VSFrame *frame, const VSFrame *properties, VSCore *core,
                                    const VSAPI *vsapi) {
        const VSFrame *from[] = {frame, frame, frame};
        const int planes[] = {0, 1, 2};
        return vsapi->newVideoFrame2(vsapi->getVideoFrameFormat(frame), vsapi->getFrameWidth(frame, 0),
                                     vsapi->getFrameHeight(frame, 0), from, planes, properties, core);
    }

  private:
    // Two, as still scenes alternate between two or three versions and large frames take memory.
    static constexpr size_t kKept = 2;

    struct FreeFrame {
        const VSAPI *vsapi;
        void operator()(const VSFrame *frame) const { vsapi->freeFrame(frame); }
    };
    using Samples = std::unique_ptr<const VSFrame, FreeFrame>;
    struct Entry {
        Samples source;
        Frame tags;
        Samples target;
        int32_t matrix;
    };

    // Without properties, which may hold more frames.
    static Samples samples(const VSFrame *frame, VSCore *core, const VSAPI *vsapi) {
        return Samples(with_properties(frame, nullptr, core, vsapi), FreeFrame{vsapi});
    }

    static bool same(const Entry &entry, const VSFrame *source, const Frame &tags,
                     const VSAPI *vsapi) {
        const Frame &other = entry.tags;
        if (tags.matrix != other.matrix || tags.range != other.range ||
            tags.chroma_location != other.chroma_location ||
            tags.field_based != other.field_based)
            return false;
        const VSVideoFormat &format = *vsapi->getVideoFrameFormat(source);
        for (int p = 0; p < format.numPlanes; p++) {
            const uint8_t *a = vsapi->getReadPtr(source, p);
            const uint8_t *b = vsapi->getReadPtr(entry.source.get(), p);
            if (a == b) continue;  // the same memory, which nobody writes to any more
            const ptrdiff_t a_stride = vsapi->getStride(source, p);
            const ptrdiff_t b_stride = vsapi->getStride(entry.source.get(), p);
            const size_t row = size_t(vsapi->getFrameWidth(source, p)) * format.bytesPerSample;
            for (int y = vsapi->getFrameHeight(source, p); y > 0; y--) {
                if (std::memcmp(a, b, row)) return false;
                a += a_stride;
                b += b_stride;
            }
        }
        return true;
    }

    std::deque<Entry> entries_;
};

}  // namespace lkdn
