// The two nodes behind lkdn.Upscale.
#pragma once
#include "VapourSynth4.h"

#include <string>

namespace lkdn {

// Enlarges `clip` (which stays the caller's) with the arguments in `json`. Throws std::runtime_error.
VSNode *create_upscale(VSNode *clip, const std::string &json, VSCore *core, const VSAPI *vsapi);

}  // namespace lkdn
