"""The launcher for AMD GPUs."""

from __future__ import annotations

import ctypes

from hybridc_runtime.device import DeviceCode
from hybridc_runtime.driver_api import DriverDevice, Interface

NAME_BYTES = 4096
"""More than the driver's record of a device has, of which the architecture's name is searched."""


class Hip(DriverDevice):
    interface = Interface(
        kind="AMD",
        libraries=("libamdhip64.so", "libamdhip64.so.6", "libamdhip64.so.7"),
        functions={
            "init": "hipInit", "device": "hipDeviceGet", "retain": "hipDevicePrimaryCtxRetain",
            "current": "hipCtxSetCurrent", "properties": "hipGetDevicePropertiesR0600",
            "error_name": "hipDrvGetErrorName",
            "new": "hipMallocAsync", "free": "hipFreeAsync", "copy": "hipMemcpyDtoDAsync",
            "write": "hipMemcpyHtoDAsync", "read": "hipMemcpyDtoHAsync", "wait": "hipStreamSynchronize",
            "load": "hipModuleLoadData", "function": "hipModuleGetFunction", "attribute": "hipFuncSetAttribute",
            "launch": "hipModuleLaunchKernel",
        },
        no_memory=2,
        no_device=(3, 35, 100, 101),
        wrong_code=(200, 209, 218, 500),
        shared_attribute=8,
        advice='install ROCm, or load it with device="cpu" or device="interpret"',
    )

    def choose(self, code: DeviceCode) -> str:
        """The artifact's target that is this GPU's architecture."""
        record = ctypes.create_string_buffer(NAME_BYTES)
        self.call("properties", record, self.number)
        have = [t for t in code.binaries if t.startswith("hip:")]
        for target in have:
            if target.removeprefix("hip:").encode() in record.raw:
                return target
        raise ValueError(f"the artifact has code for {', '.join(sorted(have)) or 'no AMD GPU'}, which this GPU is not")
