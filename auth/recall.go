package auth

import "strings"

// values is a property's texts and how they look when joined.
type values struct {
	list    []string
	text    string
	partial bool
}

func newValues(list []string, array bool) values {
	v := values{list: list}
	if !array {
		v.text = strings.Join(list, "")
		return v
	}
	whole := make([]string, 0, len(list))
	for _, s := range list {
		if strings.Contains(s, ",") {
			v.partial = true
			continue
		}
		whole = append(whole, s)
	}
	v.text = strings.Join(whole, ",")
	return v
}

func (v values) joined() (string, bool) { return v.text, v.partial }

// recalled is what was asked of a principal before, so that a remembered
// token's claims are read once and not with every request. What a configuration
// asks for is a handful of fixed paths, so a list does.
type recalled struct {
	key    string
	values values
	rest   *recalled
	length int // of the list
}

// maxRecalled bounds what one principal recalls; beyond it values are read anew
// each time.
const maxRecalled = 16

// recall gives a property from memory, or reads it and keeps it there.
func (p *Principal) recall(key string, read func() values) values {
	head := p.recalled.Load()
	for r := head; r != nil; r = r.rest {
		if r.key == key {
			return r.values
		}
	}
	first := &recalled{key: key, values: read(), rest: head, length: 1}
	if head != nil {
		first.length += head.length
	}
	if first.length <= maxRecalled {
		// If another request was faster, the next one keeps it.
		p.recalled.CompareAndSwap(head, first)
	}
	return first.values
}
