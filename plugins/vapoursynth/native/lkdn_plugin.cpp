// core.lkdn: registration, arguments, errors.
#include "VSHelper4.h"
#include "VapourSynth4.h"
#include "filter.h"
#include "python_bridge.h"

#include <cmath>
#include <cstdio>
#include <exception>
#include <iomanip>
#include <locale>
#include <sstream>
#include <string>

namespace {

std::string quoted(const char *text, int size) {
    std::string json = "\"";
    for (int i = 0; i < size; i++) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", c);
            json += escape;
        } else {
            if (c == '"' || c == '\\') json += '\\';
            json += static_cast<char>(c);
        }
    }
    return json + '"';
}

// As Python reads it, whatever the locale.
std::string number(double value) {
    if (!std::isfinite(value)) return "NaN";
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text << std::setprecision(17) << value;
    return text.str();
}

// The numbers and strings among the arguments. VapourSynth has checked names and types.
std::string arguments(const VSMap *in, const VSAPI *vsapi) {
    std::string json;
    for (int i = 0; i < vsapi->mapNumKeys(in); i++) {
        const char *key = vsapi->mapGetKey(in, i);
        std::string value;
        if (vsapi->mapGetType(in, key) == ptInt)
            value = std::to_string(vsapi->mapGetInt(in, key, 0, nullptr));
        else if (vsapi->mapGetType(in, key) == ptFloat)
            value = number(vsapi->mapGetFloat(in, key, 0, nullptr));
        else if (vsapi->mapGetType(in, key) == ptData)
            value = quoted(vsapi->mapGetData(in, key, 0, nullptr),
                           vsapi->mapGetDataSize(in, key, 0, nullptr));
        else
            continue;
        json += (json.empty() ? "" : ",") + quoted(key, static_cast<int>(std::string(key).size())) +
                ":" + value;
    }
    return "{" + json + "}";
}

void VS_CC upscale(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *vsapi) {
    VSNode *clip = vsapi->mapGetNode(in, "clip", 0, nullptr);
    try {
        VSNode *node = lkdn::create_upscale(clip, arguments(in, vsapi), core, vsapi);
        vsapi->mapConsumeNode(out, "clip", node, maAppend);
    } catch (const std::exception &error) {
        vsapi->mapSetError(out, (std::string("Upscale: ") + error.what()).c_str());
    }
    vsapi->freeNode(clip);
}

// "scale=2" appends an integer, anything else a string.
void append(VSMap *out, const std::string &key, const std::string &value, const VSAPI *vsapi) {
    if (key == "scale")
        vsapi->mapSetInt(out, key.c_str(), std::stoi(value), maAppend);
    else
        vsapi->mapSetData(out, key.c_str(), value.data(), static_cast<int>(value.size()), dtUtf8,
                          maAppend);
}

void describe(lkdn::Topic topic, VSMap *out, const VSAPI *vsapi) {
    std::istringstream lines(lkdn::describe(topic));
    for (std::string line; std::getline(lines, line);) {
        const size_t equals = line.find('=');
        append(out, line.substr(0, equals), line.substr(equals + 1), vsapi);
    }
}

// Answers without Python too, saying why there is none.
void VS_CC version(const VSMap *, VSMap *out, void *, VSCore *, const VSAPI *vsapi) {
    append(out, "version", LKDN_VERSION, vsapi);
    try {
        describe(lkdn::kVersion, out, vsapi);
    } catch (const std::exception &error) {
        append(out, "python", error.what(), vsapi);
    }
}

template <lkdn::Topic topic>
void VS_CC list(const VSMap *, VSMap *out, void *name, VSCore *, const VSAPI *vsapi) {
    try {
        describe(topic, out, vsapi);
    } catch (const std::exception &error) {
        vsapi->mapSetError(out, (static_cast<const char *>(name) + std::string(": ") +
                                 error.what()).c_str());
    }
}

}  // namespace

VS_EXTERNAL_API(void) VapourSynthPluginInit2(VSPlugin *plugin, const VSPLUGINAPI *api) {
    static char models[] = "Models", devices[] = "Devices";
    api->configPlugin("lkdn.suite.upscale", "lkdn",
                      "Super-resolution with the Large Kernel Distillation Network",
                      VS_MAKE_VERSION(LKDN_VERSION_MAJOR, LKDN_VERSION_MINOR),
                      VAPOURSYNTH_API_VERSION, 0, plugin);
    api->registerFunction("Upscale",
                          "clip:vnode;scale:int:opt;model:data:opt;weights:data:opt;"
                          "batch:int:opt;tile:int:opt;overlap:int:opt;device:data:opt;"
                          "precision:data:opt;num_streams:int:opt;matrix:int:opt;"
                          "tta:int:opt;backend:data:opt;headroom:int:opt;"
                          "denoise:float:opt;",
                          "clip:vnode;", upscale, nullptr, plugin);
    api->registerFunction("Version", "", "version:data;python:data;torch:data:opt;", version, nullptr,
                          plugin);
    api->registerFunction("Models", "", "model:data[];scale:int[];", list<lkdn::kModels>, models,
                          plugin);
    api->registerFunction("Devices", "", "device:data[];", list<lkdn::kDevices>, devices, plugin);
}
