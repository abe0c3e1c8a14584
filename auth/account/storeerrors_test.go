package account_test

import (
	"io/fs"
	"syscall"
)

// storeErrors are what a disk that is full, or may not be written, answers.
var storeErrors = []error{syscall.ENOSPC, syscall.EROFS, fs.ErrPermission}
