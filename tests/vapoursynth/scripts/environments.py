"""Cores made and destroyed one after another and side by side, as previewers do."""

import gc
import threading
from os import environ

import vapoursynth as vs
from vs_clips import assert_nothing_is_left

OPTIONS = {"scale": 2, "weights": environ["LKDN_TEST_WEIGHTS"], "batch": 4}


class Policy(vs.EnvironmentPolicy):
    def on_policy_registered(self, api: vs.EnvironmentPolicyAPI) -> None:
        self.api = api
        self.here = threading.local()

    def on_policy_cleared(self) -> None:
        pass

    def get_current_environment(self) -> vs.EnvironmentData | None:
        return getattr(self.here, "environment", None)

    def set_environment(self, environment: vs.EnvironmentData | None) -> vs.EnvironmentData | None:
        before, self.here.environment = self.get_current_environment(), environment
        return before


policy = Policy()
vs.register_policy(policy)


def upscaled(length: int) -> vs.VideoNode:
    blank = vs.core.std.BlankClip(format=vs.RGBS, width=34, height=26, length=1)
    grays = [blank.std.BlankClip(color=[n / length] * 3) for n in range(length)]
    return vs.core.std.Splice(grays).lkdn.Upscale(**OPTIONS, num_streams=2)


kept = []
for i in range(9):
    environment = policy.api.create_environment()
    futures = []
    with policy.api.wrap_environment(environment).use():
        clip = upscaled(50)
        clip.get_frame(3).close()
        if i % 3 == 0:  # in flight
            futures = [clip.get_frame_async(n) for n in range(50)]
        elif i % 3 == 1:  # outlives its environment
            kept.append(clip)
    del clip
    policy.api.destroy_environment(environment)
    del environment, futures
    gc.collect()
kept.clear()

environments = [policy.api.create_environment() for _ in range(3)]
done = []


def work(environment: vs.EnvironmentData) -> None:
    with policy.api.wrap_environment(environment).use():
        for frame in upscaled(20).frames():
            frame.close()
        done.append(environment)


threads = [threading.Thread(target=work, args=(e,)) for e in environments]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(done) == 3
done.clear()
for environment in environments:
    policy.api.destroy_environment(environment)
del environments, environment, threads, thread
assert_nothing_is_left()
print("ok")
