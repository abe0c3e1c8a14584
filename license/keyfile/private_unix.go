//go:build unix && !linux

package keyfile

import (
	"errors"
	"os"
	"syscall"
)

const modesCount = true

func accessOf(_ *os.File, info os.FileInfo) (access, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return access{}, errors.New("the system tells no owner")
	}
	return access{mode: info.Mode(), owner: int(stat.Uid), groups: []int{int(stat.Gid)}}, nil
}
