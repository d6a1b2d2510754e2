#!/bin/busybox sh
# Process 1 of a virtual-time run. Everything happens in this one image, in a fixed order, with no input from the
# host: what the command writes is kept in memory and goes out over the second serial port when it has ended.
/bin/busybox --install -s /usr/bin 2>/dev/null # what is there already stays
export PATH=/usr/local/bin:/bin:/usr/bin:/usr/sbin:/usr/libexec
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=0755 run /run
chmod 1777 /tmp
mkdir -p /dev/pts /dev/shm /run/user/0 /result
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
hostname minicomp-virtual
ip link set lo up
chmod 700 /run/user/0
for module in /modules/*.ko; do
    insmod "$module" || echo "vmlab: cannot load $module" >/dev/console
done
seatd -l error </dev/null >/run/seatd.log 2>&1 &
until [ -S /run/seatd.sock ]; do usleep 1000; done
. /lab.conf
# A pass a day: none. docs/vm.md says why.
[ "$LAB_KHUGEPAGED" = 1 ] || echo 86400000 >/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
read -r begin rest </proc/uptime
cd "$LAB_CWD" || cd /
# A limit in guest time: a command that waits for ever ends soon on the host's clock, since idle time is skipped.
timeout -k 5 "$LAB_TIMEOUT_S" sh /command.sh </dev/null >/result/output 2>&1
code=$?
read -r end rest </proc/uptime
echo "$code $begin $end" >/result/status
for file in $LAB_RESULTS; do
    [ -e "$file" ] && mkdir -p "/result/files$(dirname "$file")" && cp -r "$file" "/result/files$file"
done
stty raw -echo 115200 </dev/ttyS1
tar -c -C / result >/dev/ttyS1
# The port's own buffer must be out before the machine is off.
stty -F /dev/ttyS1 >/dev/null
sleep 1
poweroff -f
