// Batches without locks. The inner nodes, one a stream, make blocks: frame m of one is the first
// output frame of a block and carries its siblings as frame properties. The outer node takes out
// the frame asked for. VapourSynth itself joins requests for the same block and keeps the blocks.
#include "filter.h"

#include "VSHelper4.h"
#include "python_bridge.h"
#include "recent.h"

#include <algorithm>
#include <climits>
#include <memory>
#include <stdexcept>
#include <vector>

namespace lkdn {
namespace {

struct FreeNode {
    const VSAPI *vsapi;
    void operator()(VSNode *node) const { vsapi->freeNode(node); }
};
using Node = std::unique_ptr<VSNode, FreeNode>;

std::string sibling_key(int index) { return "_lkdn_sibling_" + std::to_string(index); }

// ---------------------------------------------------------------- frames
int32_t property(const VSMap *properties, const char *key, const VSAPI *vsapi) {
    int error = 0;
    const int value = vsapi->mapGetIntSaturated(properties, key, 0, &error);
    if (error) return error == peUnset ? kAbsent : kUnreadable;
    return value;
}

// _Range counts as H.273 does; _ColorRange, its older name, counts the other way round.
int32_t range_of(const VSMap *properties, const VSAPI *vsapi) {
    const int32_t range = property(properties, "_Range", vsapi);
    if (range != kAbsent) return range;
    const int32_t old = property(properties, "_ColorRange", vsapi);
    return old == 0 || old == 1 ? 1 - old : old;
}

Frame input(const VSFrame *frame, const VSAPI *vsapi) {
    Frame f{};
    for (int p = 0; p < vsapi->getVideoFrameFormat(frame)->numPlanes; p++) {
        f.plane[p] = const_cast<uint8_t *>(vsapi->getReadPtr(frame, p));
        f.stride[p] = vsapi->getStride(frame, p);
    }
    const VSMap *properties = vsapi->getFramePropertiesRO(frame);
    f.matrix = property(properties, "_Matrix", vsapi);
    f.range = range_of(properties, vsapi);
    f.chroma_location = property(properties, "_ChromaLocation", vsapi);
    f.field_based = property(properties, "_FieldBased", vsapi);
    return f;
}

Frame output(VSFrame *frame, const VSAPI *vsapi) {
    Frame f{};
    for (int p = 0; p < vsapi->getVideoFrameFormat(frame)->numPlanes; p++) {
        f.plane[p] = vsapi->getWritePtr(frame, p);
        f.stride[p] = vsapi->getStride(frame, p);
    }
    f.matrix = f.range = f.chroma_location = f.field_based = kAbsent;
    return f;
}

// ---------------------------------------------------------------- inner node: blocks
struct Blocks {
    Node source;
    VSVideoInfo info;
    int source_frames, stream;
    std::shared_ptr<const Session> session;
    RecentFrames recent;  // no lock: a node's blocks are made one after another

    int first(int m) const {
        return (m * session->plan().streams + stream) * session->plan().batch;
    }
    int count(int m) const { return std::min(session->plan().batch, source_frames - first(m)); }
};

// Fills `frames` and `out` if all of a block's sources repeat recent ones.
bool repeat(const RecentFrames &recent, const std::vector<const VSFrame *> &sources,
            const std::vector<Frame> &in, std::vector<VSFrame *> &frames, std::vector<Frame> &out,
            VSCore *core, const VSAPI *vsapi) {
    std::vector<RecentFrames::Enlarged> known;
    for (size_t i = 0; i < sources.size(); i++) {
        known.push_back(recent.find(sources[i], in[i], vsapi));
        if (!known.back().frame) return false;
    }
    for (size_t i = 0; i < sources.size(); i++) {
        frames.push_back(RecentFrames::with_properties(known[i].frame, sources[i], core, vsapi));
        out.push_back({});
        out[i].matrix = known[i].matrix;
    }
    return true;
}

const VSFrame *make_block(Blocks &d, int m, VSFrameContext *context, VSCore *core,
                          const VSAPI *vsapi) {
    const int first = d.first(m), count = d.count(m);
    std::vector<VSFrame *> frames;
    std::vector<const VSFrame *> sources;
    std::vector<Frame> in, out;
    for (int i = 0; i < count; i++) {
        sources.push_back(vsapi->getFrameFilter(first + i, d.source.get(), context));
        in.push_back(input(sources[i], vsapi));
    }
    if (!repeat(d.recent, sources, in, frames, out, core, vsapi)) {
        for (int i = 0; i < count; i++) {
            frames.push_back(vsapi->newVideoFrame(&d.info.format, d.info.width, d.info.height,
                                                  sources[i], core));  // with its properties
            out.push_back(output(frames[i], vsapi));
        }
        const std::string error = d.session->run(d.stream, first, in, out);
        if (!error.empty()) {
            for (const VSFrame *source : sources) vsapi->freeFrame(source);
            for (const VSFrame *frame : frames) vsapi->freeFrame(frame);
            vsapi->setFilterError(("Upscale: " + error).c_str(), context);
            return nullptr;
        }
        for (int i = 0; i < count; i++)
            d.recent.keep(sources[i], in[i], frames[i], out[i].matrix, core, vsapi);
    }
    for (const VSFrame *source : sources) vsapi->freeFrame(source);
    for (int i = 0; i < count; i++)
        if (out[i].matrix != kAbsent)
            vsapi->mapSetInt(vsapi->getFramePropertiesRW(frames[i]), "_Matrix", out[i].matrix,
                             maReplace);
    VSMap *properties = vsapi->getFramePropertiesRW(frames[0]);
    for (int i = 1; i < count; i++)
        vsapi->mapConsumeFrame(properties, sibling_key(i).c_str(), frames[i], maReplace);
    return frames[0];
}

const VSFrame *VS_CC get_block(int m, int reason, void *instance, void **, VSFrameContext *context,
                               VSCore *core, const VSAPI *vsapi) {
    auto &d = *static_cast<Blocks *>(instance);
    if (reason == arInitial) {
        for (int i = 0; i < d.count(m); i++)
            vsapi->requestFrameFilter(d.first(m) + i, d.source.get(), context);
    } else if (reason == arAllFramesReady) {
        return make_block(d, m, context, core, vsapi);
    }
    return nullptr;
}

// ---------------------------------------------------------------- outer node: single frames
struct Frames {
    std::vector<Node> blocks;
    VSVideoInfo info;
    int batch;
};

const VSFrame *take_frame(const VSFrame *block, int index, int batch, VSFrameContext *context,
                          VSCore *core, const VSAPI *vsapi) {
    if (batch == 1) return block;
    const VSFrame *result = nullptr;
    if (index) {
        int error = 0;
        result = vsapi->mapGetFrame(vsapi->getFramePropertiesRO(block), sibling_key(index).c_str(),
                                    0, &error);
        if (error) vsapi->setFilterError("Upscale: a frame is missing from its block", context);
    } else {
        VSFrame *first = vsapi->copyFrame(block, core);
        VSMap *properties = vsapi->getFramePropertiesRW(first);
        for (int i = 1; i < batch; i++) vsapi->mapDeleteKey(properties, sibling_key(i).c_str());
        result = first;
    }
    vsapi->freeFrame(block);
    return result;
}

const VSFrame *VS_CC get_frame(int n, int reason, void *instance, void **, VSFrameContext *context,
                               VSCore *core, const VSAPI *vsapi) {
    const auto &d = *static_cast<Frames *>(instance);
    const int block = n / d.batch, streams = static_cast<int>(d.blocks.size());
    VSNode *node = d.blocks[block % streams].get();
    if (reason == arInitial) {
        vsapi->requestFrameFilter(block / streams, node, context);
    } else if (reason == arAllFramesReady) {
        const VSFrame *frame = vsapi->getFrameFilter(block / streams, node, context);
        return take_frame(frame, n % d.batch, d.batch, context, core, vsapi);
    }
    return nullptr;
}

template <class Data> void VS_CC free_data(void *instance, VSCore *, const VSAPI *) {
    delete static_cast<Data *>(instance);
}

// Hands `data` over to a new node.
template <class Data>
Node create_node(const char *name, std::unique_ptr<Data> data, VSFilterGetFrame get, int mode,
                 const std::vector<VSFilterDependency> &needs, VSCore *core, const VSAPI *vsapi) {
    VSNode *node = vsapi->createVideoFilter2(name, &data->info, get, free_data<Data>, mode,
                                             needs.data(), static_cast<int>(needs.size()),
                                             data.get(), core);
    if (!node) throw std::runtime_error("VapourSynth could not create the filter");
    data.release();
    return Node(node, FreeNode{vsapi});
}

}  // namespace

VSNode *create_upscale(VSNode *clip, const std::string &json, VSCore *core, const VSAPI *vsapi) {
    VSCoreInfo running{};
    vsapi->getCoreInfo(core, &running);
    if (running.core < 78)  // older ones abort when they end with frames in flight
        throw std::runtime_error("VapourSynth 78 or newer is needed, this is " +
                                 std::to_string(running.core));
    VSVideoInfo info = *vsapi->getVideoInfo(clip);
    if (!vsh::isConstantVideoFormat(&info))
        throw std::runtime_error("clip: a constant format and size is accepted, got a variable one");
    const VSVideoFormat &f = info.format;
    const Clip described{info.width,      info.height,    f.colorFamily,  f.sampleType,
                         f.bitsPerSample, f.subSamplingW, f.subSamplingH, info.numFrames,
                         running.maxFramebufferSize};
    const auto session = std::make_shared<const Session>(json, described);
    const Plan plan = session->plan();
    if (std::max(info.width, info.height) > INT_MAX / plan.scale)
        throw std::runtime_error("clip: " + std::to_string(info.width) + "x" +
                                 std::to_string(info.height) + " is too large to enlarge " +
                                 std::to_string(plan.scale) + " times");
    info.width *= plan.scale;
    info.height *= plan.scale;

    auto outer = std::make_unique<Frames>(Frames{{}, info, plan.batch});
    std::vector<VSFilterDependency> needs;
    const int blocks = (info.numFrames - 1) / plan.batch + 1;
    for (int stream = 0; stream < plan.streams; stream++) {
        VSVideoInfo part = info;
        part.numFrames = (blocks - stream - 1) / plan.streams + 1;
        part.fpsNum = part.fpsDen = 0;
        Node source(vsapi->addNodeRef(clip), FreeNode{vsapi});
        auto inner = std::make_unique<Blocks>(
            Blocks{std::move(source), part, info.numFrames, stream, session, {}});
        // One request at a time for a stream; its sources are fetched for several blocks at once.
        Node node = create_node("lkdn.Blocks", std::move(inner), get_block, fmParallelRequests,
                                {{clip, rpNoFrameReuse}}, core, vsapi);
        if (plan.batch > 1) {
            vsapi->setCacheMode(node.get(), cmForceEnable);
            vsapi->setCacheOptions(node.get(), 1, plan.kept_blocks, 0);
        }
        needs.push_back({node.get(), plan.batch > 1 ? rpGeneral : rpNoFrameReuse});
        outer->blocks.push_back(std::move(node));
    }
    return create_node("lkdn.Upscale", std::move(outer), get_frame, fmParallel, needs, core, vsapi)
        .release();
}

}  // namespace lkdn
