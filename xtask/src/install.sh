# Installs the Debian packages named as arguments, as root, without starting anything.
set -eu

# Debian starts a service as soon as its package is unpacked, and the tests want the
# mosquitto program, not a broker on this machine. A policy-rc.d that answers 101
# ("action forbidden by policy") holds that back; one that is there already is the
# administrator's and stays as it is.
policy=/usr/sbin/policy-rc.d
# PostgreSQL makes a database of its own at installation, unless a file says otherwise.
clusters=/etc/postgresql-common/createcluster.d
ours=
cleanup() {
  if [ -n "$ours" ]; then rm -f "$policy"; fi
  rm -f "$clusters/tesaiot-install.conf"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
if [ ! -e "$policy" ]; then
  ours=yes
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi

case " $* " in *" postgresql"*)
  mkdir -p "$clusters"
  printf 'create_main_cluster = false\n' > "$clusters/tesaiot-install.conf"
esac

if command -v mosquitto > /dev/null; then broker_was_here=yes; else broker_was_here=; fi

export DEBIAN_FRONTEND=noninteractive
# Another apt may be at work, and mirrors hiccup: wait and try again rather than fail.
patient="-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -q"
# The lock of the package lists is the one apt does not wait for by itself.
for attempt in $(seq 30); do
  if apt-get $patient update; then break; fi
  if [ "$attempt" = 30 ]; then exit 1; fi
  sleep 10
done
apt-get $patient install -y --no-install-recommends "$@"

# Only a broker that this script brought is kept from starting with the machine.
if [ -z "$broker_was_here" ] && [ -d /run/systemd/system ]; then
  systemctl disable --now mosquitto.service > /dev/null 2>&1 || true
fi
