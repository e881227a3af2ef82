#include "python_bridge.h"

#include <stdexcept>
#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace lkdn {
namespace {

Bridge g_bridge{};  // of the process; filled once
std::atomic<bool> g_attached{false};

// Keeps the interpreter from exiting under a call. False once it has begun to.
class Call {
  public:
    Call() { ++g_bridge.active; }
    ~Call() { --g_bridge.active; }
    explicit operator bool() const { return g_bridge.alive != 0; }
};
const char *const kShuttingDown = "Python is shutting down";
const char *const kInterrupted = "interrupted";
constexpr int kMostInterrupts = 3;  // of one call

void *python_symbol(const char *name) {
#ifdef _WIN32
    HMODULE python = GetModuleHandleW(L"python3.dll");
    return python ? reinterpret_cast<void *>(GetProcAddress(python, name)) : nullptr;
#else
    return dlsym(RTLD_DEFAULT, name);
#endif
}

// What starting needs of the stable ABI.
struct Python {
    int (*is_initialized)();
    int (*ensure_gil)();
    void (*release_gil)(int);
    void *(*import)(const char *);
    void *(*call_method)(void *, const char *, const char *, ...);
    void (*dec_ref)(void *);
    void *(*raised)();
    void *(*str)(void *);
    const char *(*utf8)(void *, intptr_t *);
    void (*clear_error)();
    void (*set_interrupt)();
    bool complete = true;

    Python() {
        load(is_initialized, "Py_IsInitialized");
        load(ensure_gil, "PyGILState_Ensure");
        load(release_gil, "PyGILState_Release");
        load(import, "PyImport_ImportModule");
        load(call_method, "PyObject_CallMethod");
        load(dec_ref, "Py_DecRef");
        load(raised, "PyErr_GetRaisedException");
        load(str, "PyObject_Str");
        load(utf8, "PyUnicode_AsUTF8AndSize");
        load(clear_error, "PyErr_Clear");
        load(set_interrupt, "PyErr_SetInterrupt");
    }

  private:
    template <class Function> void load(Function &function, const char *name) {
        function = reinterpret_cast<Function>(python_symbol(name));
        complete = complete && function;
    }
};

std::string take_error(const Python &python) {
    std::string message = "unknown Python error";
    if (void *error = python.raised()) {
        if (void *text = python.str(error)) {
            // Ctrl-C is the one exception without a text.
            if (const char *utf8 = python.utf8(text, nullptr)) message = *utf8 ? utf8 : kInterrupted;
            python.dec_ref(text);
        }
        python.dec_ref(error);
    }
    python.clear_error();
    return message;
}

// Python writes to the table at exit: the library must outlive every core, which unload plugins.
void stay_loaded() {
#ifdef _WIN32
    HMODULE self;
    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                       reinterpret_cast<LPCWSTR>(&g_bridge), &self);
#else
    Dl_info self{};
    if (dladdr(&g_bridge, &self)) dlopen(self.dli_fname, RTLD_LAZY | RTLD_NODELETE);
#endif
}

// Has Python fill the table. No lock: who waited for one with the GIL held would wait for ever.
// Two threads that come here together write the same table twice, one after the other.
void attach() {
    if (g_attached) return;
    const Python python;
    if (!python.complete || !python.is_initialized())
        throw std::runtime_error("a running Python 3.12 or newer is needed in this process "
                                 "(vspipe and VSScript start one)");
    stay_loaded();
    std::string error;
    const int gil = python.ensure_gil();
    g_bridge.abi = kAbi;
    void *module = python.import("lkdn_vapoursynth.bridge");
    void *done = module ? python.call_method(module, "attach", "K",
                                             reinterpret_cast<unsigned long long>(&g_bridge))
                        : nullptr;
    if (done) python.dec_ref(done);
    else error = take_error(python);
    if (module) python.dec_ref(module);
    python.release_gil(gil);
    if (!error.empty()) throw std::runtime_error(error);
    g_attached = true;
}

// Calls into Python with room for an error; returns it, empty when all went well. Callbacks turn every
// exception into a message, but Ctrl-C may come before they are ready to: then this one stands.
template <class Function, class... Arguments>
std::string call_python(Function function, Arguments... arguments) {
    Call call;
    if (!call) return kShuttingDown;
    std::string error = kInterrupted;
    error.resize(kTextSize);
    function(arguments..., error.data());
    error.resize(error.find('\0'));
    return error;
}

}  // namespace

Session::Session(const std::string &json, const Clip &clip) {
    attach();
    const std::string error = call_python(g_bridge.create, json.c_str(), &clip, &plan_);
    if (!error.empty()) throw std::runtime_error(error);
}

Session::~Session() {
    // Clips are freed anywhere, by the garbage collector too: nobody here could be told of Ctrl-C, so
    // Python is told once more that it came.
    int interrupts = 0;
    while (interrupts < kMostInterrupts && call_python(g_bridge.destroy, plan_.session) == kInterrupted)
        ++interrupts;
    if (interrupts) Python().set_interrupt();
}

std::string Session::run(int32_t stream, int32_t first, const std::vector<Frame> &source,
                         std::vector<Frame> &target) const {
    const auto count = static_cast<int32_t>(source.size());
    const Job job{plan_.session, stream, first, count, source.data(), target.data()};
    return call_python(g_bridge.process, &job);
}

std::string describe(Topic topic) {
    attach();
    std::string text(kTextSize, '\0');
    const std::string error = call_python(g_bridge.describe, topic, text.data());
    if (!error.empty()) throw std::runtime_error(error);
    text.resize(text.find('\0'));
    return text;
}

}  // namespace lkdn
