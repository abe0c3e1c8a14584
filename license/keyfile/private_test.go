package keyfile

import (
	"os"
	"testing"
)

func TestIsPrivate(t *testing.T) {
	const me, mine, other = 1000, 2000, 3000
	for name, c := range map[string]struct {
		access
		want bool
	}{
		"the owner alone":                   {access{0o600, me, nil, []int{other}}, true},
		"root and a group of ours":          {access{0o440, 0, nil, []int{mine}}, true},
		"root writes":                       {access{0o640, 0, nil, []int{mine}}, true},
		"a list names us":                   {access{0o440, 0, []int{me}, nil}, true},
		"a list names somebody":             {access{0o440, 0, []int{me, other}, nil}, false},
		"a list names another group":        {access{0o440, 0, []int{me}, []int{mine, other}}, false},
		"another group":                     {access{0o440, 0, nil, []int{other}}, false},
		"our group, but we could change it": {access{0o440, me, nil, []int{mine}}, false},
		"somebody's":                        {access{0o440, other, nil, []int{mine}}, false},
		"the group writes":                  {access{0o460, 0, nil, []int{mine}}, false},
		"all read":                          {access{0o444, 0, nil, []int{mine}}, false},
	} {
		if got := c.isPrivate(me, []int{mine}); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// What Kubernetes and systemd hand out, as far as this process may make it.
func TestLoadFromRootAndAGroup(t *testing.T) {
	key := generate(t, Ed25519)
	path := write(t, block(t, "PRIVATE KEY", key), 0o440)
	got, err := Load(path, "")
	if os.Geteuid() != 0 {
		wantError(t, err, "others may use it")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, got, key)
	if err := os.Chown(path, 0, 54321); err != nil {
		t.Fatal(err)
	}
	_, err = Load(path, "")
	wantError(t, err, "others may use it")
}

func TestByteOrderMarks(t *testing.T) {
	key := generate(t, Ed25519)
	text := block(t, "PRIVATE KEY", key)
	got, err := Parse(append([]byte("\ufeff"), text...), "")
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, got, key)
	_, err = Parse([]byte("\xff\xfe-\x00-\x00"), "")
	wantError(t, err, "UTF-16")
}
