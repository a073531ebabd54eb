//go:build !linux

package main

import "fmt"

func main() { fmt.Println("live-edge: needs Linux") }
