package main

import (
	"os"
	"testing"
)

// TestMain lets lines that the demo prints run this very program as a command.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "gatehouse" {
		main()
		return
	}
	os.Exit(m.Run())
}
