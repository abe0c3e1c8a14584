package keyfile

import (
	"encoding/binary"
	"testing"
)

// The list that systemd gives a credential: its owner root and the service's user.
func TestAccessControlList(t *testing.T) {
	list := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range []struct {
		tag, granted uint16
		id           uint32
	}{{1, 4, ^uint32(0)}, {aclUser, 4, 1000}, {aclGroupObj, 0, ^uint32(0)}, {0x10, 4, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		list = binary.LittleEndian.AppendUint16(list, e.tag)
		list = binary.LittleEndian.AppendUint16(list, e.granted)
		list = binary.LittleEndian.AppendUint32(list, e.id)
	}
	a := access{mode: 0o440}
	if err := a.addACL(list, 0); err != nil {
		t.Fatal(err)
	}
	if len(a.users) != 1 || a.users[0] != 1000 || a.groups != nil || !a.isPrivate(1000, nil) || a.isPrivate(1001, nil) {
		t.Errorf("got %+v, want the service's user alone", a)
	}
	if err := a.addACL([]byte{9, 0, 0, 0}, 0); err == nil {
		t.Error("a list of another version was read")
	}
}
