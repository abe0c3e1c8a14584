package issuer

import (
	"fmt"
	"io"
	"os"
	"time"
)

// stamp tells one state of a file from another without reading it.
type stamp struct {
	info     os.FileInfo
	modified time.Time
	size     int64
}

func stampOf(info os.FileInfo) stamp {
	return stamp{info: info, modified: info.ModTime(), size: info.Size()}
}

// same reports whether both are the same file, unchanged. The zero stamp is
// like no other.
func (s stamp) same(o stamp) bool {
	return s.info != nil && o.info != nil && s.size == o.size &&
		s.modified.Equal(o.modified) && os.SameFile(s.info, o.info)
}

// statFile looks at a file that must be a regular one: opening a pipe would
// wait for its other end.
func statFile(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return stamp{}, fmt.Errorf("%s is not a regular file", path)
	}
	return stampOf(info), nil
}

// readSmall reads a file of at most limit bytes. The stamp is from before the
// reading, so that a change during it is seen the next time.
func readSmall(path string, limit int64) ([]byte, stamp, error) {
	before, err := statFile(path)
	if err != nil {
		return nil, stamp{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, before, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, before, err
	}
	if int64(len(data)) > limit {
		return nil, before, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, before, nil
}
