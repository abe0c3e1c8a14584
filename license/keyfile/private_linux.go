package keyfile

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const modesCount = true

// The tags of a POSIX access control list, as Linux keeps it in an attribute:
// a version, and entries of tag, permissions and id (linux/posix_acl_xattr.h).
const (
	aclAttribute = "system.posix_acl_access"
	aclVersion   = 2
	aclHeader    = 4
	aclEntry     = 8
	aclUser      = 0x02
	aclGroupObj  = 0x04
	aclGroup     = 0x08
)

// accessOf looks at the access control list too: where there is one, the group's
// part of the mode is what the list grants at most, to whomever it names.
func accessOf(file *os.File, info os.FileInfo) (access, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return access{}, errors.New("the system tells no owner")
	}
	a := access{mode: info.Mode(), owner: int(stat.Uid)}
	list := make([]byte, 64<<10)
	n, err := unix.Fgetxattr(int(file.Fd()), aclAttribute, list)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		a.groups = []int{int(stat.Gid)}
		return a, nil
	}
	if err != nil {
		return access{}, err
	}
	return a, a.addACL(list[:n], int(stat.Gid))
}

func (a *access) addACL(list []byte, gid int) error {
	if len(list) < aclHeader || binary.LittleEndian.Uint32(list) != aclVersion {
		return errors.New("an access control list of an unknown form")
	}
	for list = list[aclHeader:]; len(list) >= aclEntry; list = list[aclEntry:] {
		tag, granted := binary.LittleEndian.Uint16(list), binary.LittleEndian.Uint16(list[2:])
		id := int(binary.LittleEndian.Uint32(list[4:]))
		switch {
		case granted == 0:
		case tag == aclUser:
			a.users = append(a.users, id)
		case tag == aclGroup:
			a.groups = append(a.groups, id)
		case tag == aclGroupObj:
			a.groups = append(a.groups, gid)
		}
	}
	return nil
}
