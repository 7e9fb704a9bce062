#!/bin/sh
# Installs the package redis-server on Debian and Ubuntu, as root, without starting the distribution's own
# service: weir runs a private server. Used by `npm start` and by .ci/run.
set -eu

# One at a time, by a lock on this file: tests in several processes may all want it, and `apt-get update` waits for nobody.
exec 9<"$0"
flock -w 280 9
if command -v redis-server >/dev/null; then exit 0; fi

# dpkg asks this program whether a service may be started; 101 is "no". One that exists is the owner's decision.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\n# Temporary, by the installation of redis-server for weir. Delete it if you find it.\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
# One source that cannot be reached must not stop us: the installation tells whether the others sufficed.
apt-get -q -o DPkg::Lock::Timeout=120 update || true
apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends redis-server
