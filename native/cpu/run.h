// One picture through the network.
#pragma once
#include "network.h"
#include "plan.h"

namespace lkdn {

void run_picture(const Stages &stages, const Net &net, const Schedule &schedule,
                 const Workspace &workspace, const Picture &picture, int threads);

}  // namespace lkdn
