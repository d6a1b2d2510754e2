#!/bin/busybox sh
# First program of the function VM, from the initial file system: mounts the host's root read-only over 9p, puts
# the package layers and a writable overlay above it, the tree and the shared folder above that, and hands over
# to guest_setup.sh in the new root. Run's settings come from /lab.conf, written by guest.py.
bb=/bin/busybox

fail() {
    echo "vmlab: $1" >/dev/console
    $bb poweroff -f
}

$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
for module in /modules/*.ko; do
    $bb insmod "$module" || fail "cannot load $module"
done
. /lab.conf

options=trans=virtio,version=9p2000.L,msize=512000,access=any
$bb mkdir -p /host /layers /cow /new
# Loose caching: what the host changes below / while the guest runs may be seen late or never. The tree is apart.
$bb mount -t 9p -o "$options,ro,cache=loose" hostroot /host || fail "cannot mount the host's root over 9p"
# A share of their own, although they lie in the host's root: overlayfs refuses one layer inside another.
$bb mount -t 9p -o "$options,ro,cache=loose" layers /layers || fail "cannot mount the package layers over 9p"
$bb mount -t tmpfs -o mode=0755 cow /cow
$bb mkdir /cow/upper /cow/work
lower=/host
for layer in $LAB_LAYERS; do
    lower="/layers/$layer/root:$lower"
done
$bb mount -t overlay -o "lowerdir=$lower,upperdir=/cow/upper,workdir=/cow/work,xino=off" root /new ||
    fail "cannot mount the overlay root"

cd /new || fail "no new root"
$bb mkdir -p dev proc sys run tmp root "./$LAB_TREE"
$bb mount -t devtmpfs dev dev
$bb mount -t proc proc proc
$bb mount -t sysfs sys sys
$bb mount -t tmpfs -o mode=0755 run run
case "$LAB_TREE" in
    /tmp/*) ;; # the overlay's own /tmp, which has the tree in it, must stay visible
    *) $bb mount -t tmpfs -o mode=1777 tmp tmp ;;
esac
$bb mkdir -p run/share
$bb mount -t 9p -o "$options,rw,cache=$LAB_TREE_CACHE" tree "./$LAB_TREE" || fail "cannot mount the tree over 9p"
$bb mount -t 9p -o "$options,rw,cache=none" share run/share || fail "cannot mount the shared folder over 9p"
$bb cp /lab.conf run/lab.conf
$bb umount /proc
$bb umount /dev
exec $bb switch_root /new /bin/sh "$LAB_CODE/guest_setup.sh"
