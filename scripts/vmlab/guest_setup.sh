#!/bin/sh
# Second program of the function VM, in the overlay root: kernel file systems, modules, udev, seatd; then the
# agent as process 1. Problems go to the console, which guest.py keeps and shows when the boot fails.
. /run/lab.conf
exec </dev/null >/dev/console 2>&1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mkdir -p /dev/pts /dev/shm /run/user/0 /run/vmlab
chmod 700 /run/user/0
mount -t devpts -o ptmxmode=0666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
ip link set lo up 2>/dev/null || busybox ip link set lo up
hostname minicomp-vm
echo 0 >/proc/sys/kernel/ctrl-alt-del # a tested key chord must not reboot the guest

# Not every kernel has all of them as modules, and some are built in: what is missing shows in the tests.
for module in $LAB_MODULES; do
    modprobe -q "$module"
done
udevd=/usr/lib/systemd/systemd-udevd
[ -x "$udevd" ] || udevd=$(command -v systemd-udevd udevd | head -n 1)
"$udevd" --daemon
udevadm trigger --action=add --subsystem-match=drm --subsystem-match=input --subsystem-match=virtio-ports \
    --subsystem-match=tty --subsystem-match=misc --subsystem-match=dma_heap --subsystem-match=graphics
udevadm settle --timeout=30
if [ "$LAB_SEATD" = 1 ]; then
    seatd -l error </dev/null >/run/seatd.log 2>&1 &
fi
exec "$LAB_PYTHON" -I "$LAB_CODE/agent.py"
