"""The emulated network devices: what qemu is told, and what is set in the guest."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """A model of network card in one setting."""

    name: str
    # The argument of `-device`.
    qemu: str
    # The kernel module of its driver.
    module: str
    # Queue pairs that the device offers. Two are what a guest with two CPUs uses; more are spare.
    queue_pairs: int = 1
    # `ethtool -L IF combined N` before each start; None: as the driver chooses.
    channels: int | None = None


VIRTIO = "virtio-net-pci,mq=on,vectors=10,disable-legacy=on"

DEVICES = {device.name: device for device in (
    Device("virtio-net", VIRTIO, "virtio_net", queue_pairs=2),
    # The driver uses the DMA API, which zero-copy needs.
    Device("virtio-net-iommu", f"{VIRTIO},iommu_platform=on", "virtio_net", queue_pairs=2),
    Device("virtio-net-spare", VIRTIO, "virtio_net", queue_pairs=4),
    # All of its queue pairs are in use, so that none is spare when native XDP attaches.
    Device("virtio-net-all", VIRTIO, "virtio_net", queue_pairs=4, channels=4),
    Device("virtio-net-fixed", f"{VIRTIO},ctrl_guest_offloads=off", "virtio_net", queue_pairs=2),
    Device("igb-2", "igb", "igb", channels=2),
    Device("igb-8", "igb", "igb", channels=8),
    Device("vmxnet3", "vmxnet3", "vmxnet3"),
    Device("e1000e", "e1000e", "e1000e"),
)}
