// The Python side of the filter, called through a table of functions that ctypes fills.
// No Python.h: one build serves every Python from 3.12 on.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace lkdn {

// ---- The ABI, mirrored in lkdn_vapoursynth/abi.py. A change of it is a change of this number.
constexpr int32_t kAbi = 4;
constexpr int32_t kAbsent = INT32_MIN;      // a property that is not there
constexpr int32_t kUnreadable = kAbsent + 1;  // one that is no integer
constexpr int32_t kTextSize = 16384;  // bytes of a text, its zero among them

struct Frame {
    void *plane[3];
    int64_t stride[3];  // bytes
    int32_t matrix, range, chroma_location, field_based;  // as in properties (H.273), or kAbsent
};

struct Clip {
    int32_t width, height, color_family, sample_type, bits, subsampling_w, subsampling_h, num_frames;
    int64_t cache_bytes;  // what the core may keep in frames
};

struct Plan {
    int32_t session, scale, batch, streams, kept_blocks;
};

// Frames first, first + 1, ... of a clip, each with its place for the enlarged one.
struct Job {
    int32_t session, stream, first, count;
    const Frame *source;
    Frame *target;
};

struct Bridge {
    int32_t abi;
    std::atomic<int32_t> alive;   // Python clears it when the interpreter exits
    std::atomic<int32_t> active;  // calls under way; Python waits for them before it goes
    // Done once error, of kTextSize bytes, is empty: what a callback returns means nothing when Ctrl-C
    // stops it before its first line.
    void (*create)(const char *json, const Clip *clip, Plan *plan, char *error);
    void (*process)(const Job *job, char *error);
    void (*describe)(int32_t topic, char *text, char *error);
    void (*destroy)(int32_t session, char *error);
};
static_assert(sizeof(std::atomic<int32_t>) == sizeof(int32_t), "the table is plain memory");

enum Topic : int32_t { kVersion, kModels, kDevices };

// An Upscaler with its threads, made from the script's arguments; failures throw std::runtime_error.
class Session {
  public:
    Session(const std::string &json, const Clip &clip);
    ~Session();
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    const Plan &plan() const { return plan_; }
    // Returns an error message, empty when all went well.
    std::string run(int32_t stream, int32_t first, const std::vector<Frame> &source,
                    std::vector<Frame> &target) const;

  private:
    Plan plan_{};
};

// One "key=value" per line; throws std::runtime_error.
std::string describe(Topic topic);

}  // namespace lkdn
