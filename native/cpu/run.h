// One picture through the network.
#pragma once
#include "network.h"
#include "plan.h"

namespace lkdn {

// Ends early, with `false`, once `stop` is not 0; it may be null.
bool run_picture(const Stages &stages, const Net &net, const Schedule &schedule,
                 const Workspace &workspace, const Picture &picture, int threads,
                 const volatile int32_t *stop);

}  // namespace lkdn
