# Boots systemd with the units of directory $1, and ends it when input ends.
# It runs in mount, network, UTS and IPC namespaces of its own.
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mount -t cgroup2 cgroup2 /mnt
group=/mnt/tcpwhy-test-$$
mkdir $group
mkdir -p /run/tcpwhy /run/dbus /run/lock /run/systemd/journald.conf.d /run/systemd/units-test
cp "$1"/* /run/systemd/units-test/
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitBurst=0\n' > /run/systemd/journald.conf.d/test.conf
cat > /run/tcpwhy/bus.conf <<X
<busconfig><type>system</type><auth>EXTERNAL</auth><listen>unix:path=/run/dbus/unused</listen>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
X
ip link set lo up 2>/dev/null || true
exec 3<&0
(
	echo 0 > $group/cgroup.procs
	exec unshare --pid --cgroup --fork --kill-child sh -c '
		mount -t tmpfs -o mode=1777 tmpfs /tmp
		mount -t proc proc /proc
		mount --bind /proc/sys /proc/sys
		mount -o remount,bind,ro /proc/sys
		mount -t cgroup2 cgroup2 /sys/fs/cgroup
		export container=test SYSTEMD_UNIT_PATH=/run/systemd/units-test SYSTEMD_LOG_COLOR=0
		exec /lib/systemd/systemd --system --show-status=no
	'
) </dev/null &
system=$!
# With --kill-child all of the system ends with it.
(read -r _ <&3 || true; kill -9 $system 2>/dev/null) &
reader=$!
wait $system || true
kill $reader 2>/dev/null || true
# A control group can be removed once the last of its dead is gone.
for i in 1 2 3 4 5 6 7 8 9 10; do
	find $group -depth -type d -exec rmdir {} + 2>/dev/null && break
	sleep 0.1
done
