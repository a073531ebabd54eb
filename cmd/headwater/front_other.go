//go:build !linux

package main

import "os"

var hangup, successor os.Signal
