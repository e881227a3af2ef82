// One picture through the network.
#pragma once
#include "network.h"
#include "plan.h"

namespace lkdn {

// Ends early, with `false`, once `work[0]` is not 0, and adds to `work[1]` the pixels that are done.
// `work` may be null.
bool run_picture(const Stages &stages, const Net &net, const Schedule &schedule,
                 const Workspace &workspace, const Picture &picture, int threads,
                 volatile int64_t *work);

}  // namespace lkdn
