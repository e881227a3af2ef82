// A player: evaluates a script again at each seek and takes a few frames, several at a time.
// Without a script: only a core, and no Python in the process.
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include "VSScript4.h"
#include "VapourSynth4.h"

static const VSAPI *api;
static atomic_int pending;

static void VS_CC drop(void *data, const VSFrame *frame, int n, VSNode *node, const char *error) {
    (void)data, (void)n, (void)node, (void)error;
    api->freeFrame(frame);
    pending--;
}

static int without_python(const char *library) {
    void *lib = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    const VSAPI *(*get)(int) = (const VSAPI *(*)(int))dlsym(lib, "getVapourSynthAPI");
    api = get(VAPOURSYNTH_API_VERSION);
    VSCore *core = api->createCore(0);
    VSPlugin *lkdn = api->getPluginByNamespace("lkdn", core);
    if (!lkdn) return 2;
    VSMap *arguments = api->createMap();
    VSMap *result = api->invoke(lkdn, "Version", arguments);
    printf("%s\n", api->mapGetData(result, "python", 0, NULL));
    api->freeMap(result);
    result = api->invoke(api->getPluginByNamespace("std", core), "BlankClip", arguments);
    api->mapConsumeNode(arguments, "clip", api->mapGetNode(result, "clip", 0, NULL), maReplace);
    api->freeMap(result);
    result = api->invoke(lkdn, "Upscale", arguments);
    printf("%s\n", api->mapGetError(result));
    api->freeMap(result);
    api->freeMap(arguments);
    api->freeCore(core);
    return 0;
}

int main(int count, char **values) {
    if (count == 2) return without_python(values[1]);
    void *lib = dlopen(values[1], RTLD_NOW | RTLD_GLOBAL);
    const VSSCRIPTAPI *(*get)(int) = (const VSSCRIPTAPI *(*)(int))dlsym(lib, "getVSScriptAPI");
    const VSSCRIPTAPI *scripts = get(VSSCRIPT_API_VERSION);
    if (!scripts) return 3;
    api = scripts->getVSAPI(VAPOURSYNTH_API_VERSION);
    for (int i = 0; i < 6; i++) {
        VSScript *script = scripts->createScript(NULL);
        if (scripts->evaluateFile(script, values[2])) {
            printf("%s\n", scripts->getError(script));
            return 4;
        }
        VSNode *node = scripts->getOutputNode(script, 0);
        char error[1024] = "";
        const VSFrame *frame = api->getFrame(10 * i, node, error, sizeof error);
        if (!frame) {
            printf("%s\n", error);
            return 5;
        }
        printf("%dx%d\n", api->getFrameWidth(frame, 0), api->getFrameHeight(frame, 0));
        api->freeFrame(frame);
        pending = 8;
        for (int n = 1; n < 9; n++) api->getFrameAsync(10 * i + n, node, drop, NULL);
        while (pending) usleep(1000);  // a node must outlive the requests for its frames
        api->freeNode(node);
        scripts->freeScript(script);
    }
    return 0;
}
