"""The launcher for NVIDIA GPUs."""

from __future__ import annotations

import ctypes

from hybridc_runtime.device import DeviceCode
from hybridc_runtime.driver_api import DriverDevice, Interface

MAJOR, MINOR = 75, 76
"""The device attributes of the compute capability."""


class Cuda(DriverDevice):
    interface = Interface(
        kind="NVIDIA",
        libraries=("libcuda.so.1", "libcuda.so"),
        functions={
            "init": "cuInit", "device": "cuDeviceGet", "retain": "cuDevicePrimaryCtxRetain",
            "current": "cuCtxSetCurrent", "capability": "cuDeviceGetAttribute", "error_name": "cuGetErrorName",
            "new": "cuMemAllocAsync", "free": "cuMemFreeAsync", "copy": "cuMemcpyDtoDAsync_v2",
            "write": "cuMemcpyHtoDAsync_v2", "read": "cuMemcpyDtoHAsync_v2", "wait": "cuStreamSynchronize",
            "load": "cuModuleLoadData", "function": "cuModuleGetFunction", "attribute": "cuFuncSetAttribute",
            "launch": "cuLaunchKernel", "graph": "cuGraphCreate", "graph_add": "cuGraphAddKernelNode",
            "graph_instantiate": "cuGraphInstantiateWithFlags", "graph_launch": "cuGraphLaunch",
            "graph_update": "cuGraphExecKernelNodeSetParams", "graph_destroy": "cuGraphExecDestroy",
        },
        no_memory=2,
        no_device=(3, 35, 46, 100, 101, 803, 804),
        wrong_code=(200, 209, 218, 222, 500),
        shared_attribute=8,
        advice='install NVIDIA\'s driver, or load it with device="cpu" or device="interpret"',
    )

    def choose(self, code: DeviceCode) -> str:
        """Of the artifact's targets, the newest of this GPU's generation that is not newer than it."""
        found = []
        for attribute in (MAJOR, MINOR):
            value = ctypes.c_int()
            self.call("capability", ctypes.byref(value), attribute, self.number)
            found.append(value.value)
        major, minor = found
        have = [t for t in code.binaries if t.startswith("cuda:sm_")]
        numbers = {int(t.removeprefix("cuda:sm_")): t for t in have}
        fitting = [n for n in numbers if n // 10 == major and n % 10 <= minor]
        if not fitting:
            built = ", ".join(sorted(have)) or "no NVIDIA GPU"
            raise ValueError(f"the artifact has code for {built}, and this GPU is cuda:sm_{major}{minor}")
        return numbers[max(fitting)]
