package keyfile

import (
	"fmt"
	"os"
	"slices"
)

// access is who may use a file beside its owner.
type access struct {
	mode          os.FileMode
	owner         int
	users, groups []int // whom the group's part of the mode is for
}

// CheckPrivate says why an opened file is no place for a secret. Nobody but its
// owner may read or write it (mode 0600 or less). Where the owner is root, the
// process's own user, or a group that the process is in, may read it besides:
// Kubernetes (fsGroup) and systemd (LoadCredential) hand secrets out so, and
// leave nothing to change. On Windows, where modes say nothing, all is well.
func CheckPrivate(file *os.File) error {
	if !modesCount {
		return nil
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	found, err := accessOf(file, info)
	if err != nil {
		return fmt.Errorf("finding out who may use %s: %w", file.Name(), err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		return fmt.Errorf("finding out this process's groups: %w", err)
	}
	if found.isPrivate(os.Geteuid(), append(groups, os.Getegid())) {
		return nil
	}
	return fmt.Errorf("%s has the mode %04o, so others may use it; want 0600, by chmod 600 %[1]s, or 0440 of root and a group of this process", file.Name(), found.mode.Perm())
}

// isPrivate reports whether only the owner, root and this process may use a file.
func (a access) isPrivate(user int, groups []int) bool {
	ours := func(id int) bool { return id == 0 || id == user }
	mine := func(id int) bool { return slices.Contains(groups, id) }
	others, group := a.mode.Perm()&0o007, a.mode.Perm()&0o070
	switch {
	case others != 0 || group&^0o040 != 0:
		return false
	case group == 0:
		return true
	}
	return a.owner == 0 && !slices.ContainsFunc(a.users, func(id int) bool { return !ours(id) }) &&
		!slices.ContainsFunc(a.groups, func(id int) bool { return !mine(id) })
}
